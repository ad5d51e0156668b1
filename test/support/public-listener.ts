import { once } from 'node:events'
import { connect } from 'node:net'
import { jsonRefusalOf } from '../../src/api/local/json-refusal.ts'
import { openPublicListener, type PublicExchange, type PublicListener, type PublicListenerOptions } from '../../src/api/server/public-listener.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'

export interface ServedPublicly extends AsyncDisposable {
  readonly listener: PublicListener
  /** Lines of the log, as JSON. */
  readonly logged: string[]
}

/** A public listener on a free port of 127.0.0.1, with `answer` behind it. */
export async function servedPublicly (answer: (exchange: PublicExchange) => Promise<void>, { face, ...options }: Partial<PublicListenerOptions> = {}): Promise<ServedPublicly> {
  const logged: string[] = []
  const log = (fields: object, message: string): void => { logged.push(JSON.stringify({ ...fields, message })) }
  const listener = await openPublicListener({
    name: 'test', listen: { host: '127.0.0.1', port: 0 }, clock: systemClock, random: systemRandom, log: { info: log, error: log },
    face: { answer, refusalOf: (error, { request }) => jsonRefusalOf(error, request), ...face },
    ...options,
  })
  return { listener, logged, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() }
}

/** What comes back for these very bytes, until the server closes. */
export async function answerTo (port: number, bytes: string | Uint8Array): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const pieces: Buffer[] = []
  socket.on('data', (piece) => { pieces.push(piece) }).on('error', () => { /* told by "close" */ })
  await once(socket, 'connect')
  socket.write(bytes)
  await once(socket, 'close')
  return Buffer.concat(pieces).toString('latin1')
}
