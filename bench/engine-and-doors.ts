import { createInterface } from 'node:readline'
import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { systemClock } from '../src/base/clock.ts'
import { systemRandom } from '../src/base/random.ts'
import { configOf } from '../src/config.ts'
import { keyFileIn } from '../src/cli/secrets.ts'
import { openDoors } from '../src/doors.ts'
import { openNode } from '../src/node.ts'
import { drain, mebibyte } from './measure.ts'

/**
 * The node of a data folder and its doors in this process: what a door adds to the engine is the difference of two figures of one process. With a second argument, its capacity and cache. Prints `{"s3"}`; then
 * answers each line of its input, a Task, with a Spent: by the engine itself, or, between "start" and "end", by whoever uses a door from outside.
 */
export type Task = Transfer | { readonly kind: 'start' } | { readonly kind: 'end' }
export interface Transfer { readonly kind: 'put' | 'get', readonly bucket: string, readonly key: string, readonly sizeBytes: number }
/** What this process spent. */
export interface Spent { readonly seconds: number, readonly cpuSeconds: number }

const [data = '', capacity] = process.argv.slice(2)
const { config, origins } = configOf({ home: '/', options: { data, listen: '/ip4/127.0.0.1/tcp/0', 's3-listen': '127.0.0.1:0', 'http-listen': '127.0.0.1:0', 'rate-per-key': '1000000', 'rate-per-address': '1000000', 'log-level': 'warn', ...(capacity === undefined ? {} : { capacity, cache: capacity }) } })
const logger = pino({ level: 'warn' }, pino.destination(2))
const closing = Promise.withResolvers<void>()
await using node = await openNode(config, { kind: 'key-file', path: keyFileIn(data) }, { logger, clock: systemClock, random: systemRandom })
await using doors = await openDoors({ node, config, origins, logger, stop: () => { closing.resolve() } })

/** Random bytes that were there before anything is measured; a stamp makes each piece another. */
const pool = randomBytes(16 * mebibyte)
let stamp = 0
const pieceBytes = 64 * 1024

async function * content (bytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes; at += pieceBytes) {
    const piece = new Uint8Array(pool.subarray(at % pool.byteLength, at % pool.byteLength + Math.min(pieceBytes, bytes - at)))
    new DataView(piece.buffer).setUint32(0, stamp++)
    yield piece
  }
}

let began = now()
function now (): Spent {
  const { user, system } = process.cpuUsage()
  return { seconds: performance.now() / 1000, cpuSeconds: (user + system) / 1e6 }
}
const since = (start: Spent): Spent => { const end = now(); return { seconds: end.seconds - start.seconds, cpuSeconds: end.cpuSeconds - start.cpuSeconds } }

async function answerTo (task: Task): Promise<Spent> {
  if (task.kind === 'start') began = now()
  return task.kind === 'start' || task.kind === 'end' ? since(began) : spentOn(task)
}

async function spentOn (task: Transfer): Promise<Spent> {
  const { bucket, key, sizeBytes } = task
  const start = now()
  if (task.kind === 'put') await node.objects.put({ bucket, key }, content(sizeBytes), { sizeBytes })
  else await drain((await node.objects.get({ bucket, key })).body)
  return since(start)
}

console.log(JSON.stringify({ ...doors.endpoints, data }))
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await answerTo(JSON.parse(line) as Task)))
