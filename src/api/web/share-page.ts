import { Html, html, page, pageHeaders } from './html.ts'

/**
 * The page of every share link, the same for all, whether there is such a share or not. The secret is in the fragment, which no browser sends: the script alone reads it, asks with it in a header,
 * and puts it into the form whose answer is the download. So it stands in no log and in no history of any server.
 */
const script = `
'use strict'
const secret = location.hash.slice(1)
const told = document.getElementById('told')
const form = document.getElementById('form')
const say = (text) => { told.textContent = text }
const sizeOf = (bytes) => {
  let [size, unit] = [bytes, 'bytes']
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB']) { if (size < 1024) break; size /= 1024; unit = next }
  return unit === 'bytes' ? size + ' bytes' : size.toFixed(1) + ' ' + unit
}
const about = async () => {
  if (secret === '') { say('The part of the link after the # is missing. Ask for the whole link.'); return }
  const answer = await fetch(location.pathname + '/about', { headers: { 'x-dfs-share': secret, accept: 'application/json' } })
  const found = await answer.json()
  if (!answer.ok) { say(found.error.message); return }
  document.getElementById('name').textContent = found.name
  document.title = found.name
  say([sizeOf(found.sizeBytes), found.isOnce && 'can be downloaded once: it is used up when the download begins', found.notAfterMs && 'until ' + new Date(found.notAfterMs).toLocaleString()].filter(Boolean).join('; '))
  form.elements.secret.value = secret
  if (found.hasPassword) { document.getElementById('ask').hidden = false; form.elements.password.required = true }
  form.hidden = false
}
addEventListener('hashchange', () => { location.reload() })
about().catch(() => { say('The server cannot be reached. Try again later.') })
`

export const sharePage: Buffer = page({
  title: 'A shared file',
  body: html`<main>
<h1 id="name">A shared file</h1>
<p id="told" role="status">Looking for it …</p>
<form id="form" method="post" hidden>
<input type="hidden" name="secret">
<p id="ask" hidden><label>Password <input type="password" name="password" autocomplete="off"></label></p>
<p><button>Download</button></p>
</form>
<noscript><p>The key of this link never leaves your browser unasked, so a small script must read it; scripts are off. With curl: <code>curl -OJ -H 'x-dfs-share: WHAT FOLLOWS THE #' LINK</code></p></noscript>
</main>
<script>${new Html(script)}</script>`,
})

// the form's answer is refused unless it says where it comes from; without a path, for that holds the share's id
export const sharePageHeaders: Record<string, string> = { ...pageHeaders({ script }), 'referrer-policy': 'strict-origin' }
