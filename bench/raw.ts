import { createLibp2p } from 'libp2p'
import { multiaddr } from '@multiformats/multiaddr'
import { flowReader, write } from '../src/network/flow.ts'
import { transportOptions } from '../src/network/transport.ts'

/** A bare libp2p stream with the transport options of a node and no application: `raw.ts serve BYTES` prints an address; `raw.ts get ADDRESS BYTES` prints seconds. */
const protocol = '/raw/1.0.0'
const pieceBytes = 1024 * 1024
const [command, first = '', second = ''] = process.argv.slice(2)
const forever = new AbortController().signal

if (command === 'serve') {
  const node = await createLibp2p({ addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] }, ...transportOptions() } as never)
  const piece = new Uint8Array(pieceBytes).fill(7)
  await node.handle(protocol, async (stream) => {
    for (let sent = 0; sent < Number(first); sent += pieceBytes) await write(stream, [piece], forever)
    await stream.close()
  })
  console.log(node.getMultiaddrs()[0]?.toString())
} else {
  const node = await createLibp2p(transportOptions() as never)
  const connection = await node.dial(multiaddr(first))
  const start = performance.now()
  const reader = flowReader(await connection.newStream(protocol), { highBytes: pieceBytes })
  for (let got = 0; got < Number(second); got += pieceBytes) await reader.read(pieceBytes)
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000 }))
  await node.stop()
}
