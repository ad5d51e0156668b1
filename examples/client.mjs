// A program beside a node: stores, lists, reads and watches through the node that runs over the folder.
import { connect } from 'dfs/client'

using client = await connect({ data: process.argv[2] ?? './node' })
// elsewhere, and in browsers: await connect({ url: 'https://node.example.org:9090', accessKey: { id, secret } })

await client.buckets.create('notes', { copies: 1 }).catch((error) => { if (error.code !== 'conflict') throw error })
const watching = await client.watch({ bucket: 'notes' })

await client.put({ bucket: 'notes', key: 'a/1' }, 'a text, bytes, a Blob, a stream or any async iterable', {
  contentType: 'text/plain', metadata: { author: 'me' }
})

for await (const { key, sizeBytes, metadata } of client.list('notes', { prefix: 'a/' })) console.log(key, sizeBytes, metadata.author)

const reading = await client.get({ bucket: 'notes', key: 'a/1' }, { range: { first: 2, last: 5 } })
console.log(await reading.text())

for await (const { object } of watching) {
  console.log('seen', object?.key)
  break
}

try {
  await client.put({ bucket: 'notes', key: 'a/1' }, 'again', { ifNoneMatch: '*', signal: AbortSignal.timeout(10_000) })
} catch (error) {
  console.log(error.code)
}
