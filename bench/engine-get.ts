import { totalOf, socketBytes } from './wire.ts'
import { configOf } from '../src/config.ts'
import { keyFileIn } from '../src/cli/secrets.ts'
import { openNode } from '../src/node.ts'
import { until } from '../scripts/local-cluster.ts'
import { drain } from './measure.ts'

/**
 * Opens the node of a data folder inside this process and reads one object to nowhere: our fetch, engine to engine. Prints an EngineGet (fetch.ts). What it
 * caches it forgets when it is done, so that it is cold each time.
 */
const [data = '', listen = '', bucket = '', key = '', cache = '0'] = process.argv.slice(2)
const { config } = configOf({ home: '/', options: { data, listen, capacity: '0', cache, 'log-level': 'warn' } })
await using node = await openNode(config, { kind: 'key-file', path: keyFileIn(data) })
await until('the other members are connected', 20_000, async () => (await node.status()).members.every(({ isConnected }) => isConnected))
const before = totalOf(socketBytes())
const [start, cpuStart] = [performance.now(), process.cpuUsage()]
const reading = await node.objects.get({ bucket, key })
const rowSeconds = (performance.now() - start) / 1000
const { firstSeconds, bytes } = await drain(reading.body)
const seconds = (performance.now() - start) / 1000
const { user, system } = process.cpuUsage(cpuStart)
const after = totalOf(socketBytes())
const blockBytes = [...reading.sources.peers.values()].reduce((sum, of) => sum + of, 0)
await node.emptyCache()
console.log(JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, firstSeconds: rowSeconds + firstSeconds, bytes, blockBytes, wire: { received: after.received - before.received, sent: after.sent - before.sent } }))
