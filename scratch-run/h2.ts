import * as http2 from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
const { port, token } = JSON.parse(process.argv[2]!)
const mode = process.argv[3]
const session = http2.connect(`http://127.0.0.1:${port}`, mode === 'reset' ? {} : { settings: { initialWindowSize: 0 } })
session.on('error', (e) => console.log('session error', String(e))).on('goaway', (...a) => console.log('goaway', a.slice(0, 2)))
const headers = { ':path': '/v1/objects/photos/big', authorization: `Bearer ${token}`, host: `127.0.0.1:${port}` }
if (mode === 'reset') {
  let heads = 0, i = 0
  const end = Date.now() + 8000
  while (Date.now() < end && !session.destroyed && !session.closed) {
    for (let k = 0; k < 50; k++) { i++; const s = session.request(headers); s.on('error', () => {}).on('response', () => heads++); s.close(http2.constants.NGHTTP2_CANCEL) }
    await new Promise((r) => setImmediate(r))
  }
  console.log('sent', i, 'heads', heads, session.destroyed, session.closed)
} else {
  for (let k = 0; k < 120; k++) session.request(headers).on('error', () => {})
  await sleep(6000)
}
session.destroy(); process.exit(0)
