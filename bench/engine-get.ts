import { configOf } from '../src/config.ts'
import { keyFileIn } from '../src/cli/secrets.ts'
import { openNode } from '../src/node.ts'
import { until } from '../scripts/local-cluster.ts'

/** Opens the node of a data folder inside this process and reads one object to nowhere: our fetch, engine to engine. Prints seconds and the first byte's. */
const [data = '', listen = '', bucket = '', key = ''] = process.argv.slice(2)
const { config } = configOf({ home: '/', options: { data, listen, capacity: '0', cache: '0' } })
await using node = await openNode(config, { kind: 'key-file', path: keyFileIn(data) })
await until('both holders are connected', 20_000, async () => (await node.status()).members.every(({ isConnected }) => isConnected))
const start = performance.now()
const reading = await node.objects.get({ bucket, key })
let [bytes, firstSeconds] = [0, 0]
for await (const piece of reading.body) {
  if (bytes === 0) firstSeconds = (performance.now() - start) / 1000
  bytes += piece.byteLength
}
const seconds = (performance.now() - start) / 1000
const fromPeers = [...reading.sources.peers.values()].reduce((sum, of) => sum + of, 0)
console.log(JSON.stringify({ seconds, firstSeconds, bytes, fromPeers, peakBytes: process.resourceUsage().maxRSS * 1024 }))
