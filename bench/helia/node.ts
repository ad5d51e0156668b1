import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { FsBlockstore } from 'blockstore-fs'
import { LevelDatastore } from 'datastore-level'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

/**
 * One Helia node as a process: `node.ts add FOLDER FILE` adds the file, prints what and where it is, and serves until it is killed;
 * `node.ts get FOLDER ADDRESS CID [CONCURRENCY]` dials that node, reads the file to nowhere and prints seconds. All as it ships but the network: TCP, noise
 * and yamux on loopback, as ours, and nobody else to find: no bootstrap list, no DHT, no mDNS, no gateways.
 */
const [command, folder = '', first = '', second = '', concurrency] = process.argv.slice(2)
const secondsSince = (start: number): number => (performance.now() - start) / 1000

const blockstore = new FsBlockstore(join(folder, 'blocks'))
const datastore = new LevelDatastore(join(folder, 'data'))
await blockstore.open()
await datastore.open()
const helia = withBitswap(withLibp2pLight(createHeliaLight({ blockstore, datastore }), {
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() },
}))
await helia.start()
const files = unixfs(helia)

if (command === 'add') {
  const start = performance.now()
  const cid = await files.addByteStream(createReadStream(first, { highWaterMark: 1024 ** 2 }))
  console.log(JSON.stringify({ seconds: secondsSince(start), cid: cid.toString(), address: helia.libp2p.getMultiaddrs()[0]?.toString() }))
} else {
  await helia.libp2p.dial(multiaddr(first))
  // the exporter takes it; the types of cat() do not say so (@helia/unixfs 8.0)
  const options = concurrency === undefined ? {} : { blockReadConcurrency: Number(concurrency) } as object
  const start = performance.now()
  let [bytes, firstSeconds] = [0, 0]
  for await (const piece of files.cat(CID.parse(second), options)) {
    if (bytes === 0) firstSeconds = secondsSince(start)
    bytes += piece.byteLength
  }
  console.log(JSON.stringify({ seconds: secondsSince(start), firstSeconds, bytes }))
  process.exit()
}
