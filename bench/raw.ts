// by path: what Helia brings into bench/node_modules is not what the nodes run on
import { multiaddr } from '../node_modules/@multiformats/multiaddr/dist/src/index.js'
import { createLibp2p } from '../node_modules/libp2p/dist/src/index.js'
import { write } from '../src/network/flow.ts'
import { transportOptions } from '../src/network/transport.ts'

/**
 * A bare libp2p stream with the transport options of a node and no application: `raw.ts serve BYTES` prints an address, `raw.ts get BYTES ADDRESS…` receives
 * so many from each of them at once and prints a RawGet (fetch.ts). The receiver counts messages as they come and keeps none: nothing can receive with less.
 */
const protocol = '/raw/1.0.0'
const pieceBytes = 1024 * 1024
const [command, bytesText, ...addresses] = process.argv.slice(2)
const bytes = Number(bytesText)
const forever = new AbortController().signal

if (command === 'serve') {
  const node = await createLibp2p({ addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }, ...transportOptions() } as never)
  const piece = new Uint8Array(pieceBytes).fill(7)
  await node.handle(protocol, async (stream) => {
    for (let left = bytes; left > 0; left -= pieceBytes) await write(stream, [piece.subarray(0, left)], forever)
    await stream.close()
  })
  console.log(JSON.stringify({ address: node.getMultiaddrs()[0]?.toString() }))
} else {
  const node = await createLibp2p(transportOptions() as never)
  const connections = await Promise.all(addresses.map(async (address) => node.dial(multiaddr(address))))
  const [start, cpuStart] = [performance.now(), process.cpuUsage()]
  await Promise.all(connections.map(async (connection) => {
    const stream = await connection.newStream(protocol)
    const whole = Promise.withResolvers<void>()
    let left = bytes
    stream.addEventListener('message', ({ data }) => { left -= data.byteLength; if (left <= 0) whole.resolve() })
    stream.addEventListener('close', () => { if (left > 0) whole.reject(new Error(`the stream ended ${left} bytes early`)) })
    await whole.promise
  }))
  const { user, system } = process.cpuUsage(cpuStart)
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6 }))
  await node.stop()
}
