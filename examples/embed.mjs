// A node inside a program: founds a cluster in the folder if it is empty, stores, reads, and lets others in.
import { createNode } from 'dfs'

await using node = await createNode({
  data: process.argv[2] ?? './node',
  settings: { listen: ['/ip4/127.0.0.1/tcp/0'], apiPort: 0, reserveBytes: 0 },
  doors: true // so that "dfs --data ./node" and dfs/client find it
})

async function * bytes () {
  for (let i = 0; i < 3; i++) yield new Uint8Array(100_000).fill(i)
}

if ((await node.objects.listBuckets()).length === 0) await node.objects.createBucket('embedded', { copies: 1 })
const stored = await node.objects.put({ bucket: 'embedded', key: 'three' }, bytes(), { contentType: 'application/octet-stream' })

let length = 0
const reading = await node.objects.get({ bucket: 'embedded', key: 'three' }, { range: { first: 100_000 } })
for await (const piece of reading.body) length += piece.byteLength

const [token] = await node.invite({ role: 'member' })
console.log(`${stored.sizeBytes} bytes stored, ${length} of them read; others join with ${token?.slice(0, 5)}…`)
