import { servedApi } from '../test/support/local-api.ts'
import { hexOf } from '../src/base/bytes.ts'
import { setTimeout as sleep } from 'node:timers/promises'
const served = await servedApi({ watch: (async function * ({ signal }: { signal: AbortSignal }) { while (!signal.aborted) { yield { at: new Date().toISOString(), from: 'p', versionId: 'v', object: { bucket: 'photos', key: 'k' } }; await sleep(1) } }) as never })
await served.objects.put({ bucket: 'photos', key: 'big' }, (async function * () { for (let i = 0; i < 40; i++) yield new Uint8Array(1 << 18) })())
process.on('unhandledRejection', (e) => { console.log('UNHANDLED', e) }); process.on('uncaughtException', (e) => { console.log('UNCAUGHT', e) })
console.log(JSON.stringify({ port: served.api.port, token: hexOf(served.api.token) }))
let last = performance.now(), lag = 0
setInterval(() => { const now = performance.now(); lag = Math.max(lag, now - last - 100); last = now }, 100)
setInterval(() => { console.log('lag', Math.round(lag), 'rss', process.memoryUsage().rss >> 20, 'logged', served.logged.length, 'cpu', Math.round(process.cpuUsage().user / 1e6)); lag = 0; served.logged.length = Math.min(served.logged.length, 1e5) }, 2000)
process.on('SIGTERM', async () => { const b = Date.now(); await served[Symbol.asyncDispose](); console.log('dispose', Date.now() - b); process.exit(0) })
