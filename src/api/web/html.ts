import { hash as digest } from 'node:crypto'

/** HTML text; everything put into it is escaped, but other Html. */
export class Html {
  readonly text: string
  constructor (text: string) { this.text = text }
}

type Part = Html | string | number | undefined | readonly Part[]

export function html (strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.map((text, i) => text + (i < parts.length ? textOf(parts[i]) : '')).join(''))
}

function textOf (part: Part): string {
  if (part === undefined) return ''
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(textOf).join('')
  return String(part).replaceAll(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

/** A whole page; plain, and dark where the reader's system is. */
export function page ({ title, body, head }: { title: string, body: Html, head?: Html }): Buffer {
  return Buffer.from(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${new Html(style)}</style>
${head}</head>
<body>
${body}
</body>
</html>
`.text)
}

const style = `
:root { color-scheme: light dark; --text: #1b1b1b; --quiet: #595959; --link: #0b57a4; --line: #d5d5d5; --ground: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --quiet: #a8a8a8; --link: #8ab8f0; --line: #444; --ground: #161616 } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
a { color: var(--link) } a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
h1 { font-size: 1.3rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } caption { text-align: left; color: var(--quiet); padding-bottom: .5rem }
th { text-align: left; color: var(--quiet); font-weight: normal } th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td:first-child { overflow-wrap: anywhere } .size { text-align: right; white-space: nowrap } .time { white-space: nowrap }
input, button { font: inherit; padding: .4rem .7rem }
@media (max-width: 40rem) { .time { display: none } }
`

const sourceOf = (text: string): string => `'sha256-${digest('sha256', text, 'base64')}'`

/** Headers of our own pages: nothing but their own style, and the one script if there is one, is run or loaded. */
export function pageHeaders ({ script }: { script?: string } = {}): Record<string, string> {
  const scripts = script === undefined ? '' : `script-src ${sourceOf(script)}; connect-src 'self'; `
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; style-src ${sourceOf(style)}; ${scripts}base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
    'cache-control': 'no-store',
    ...plainHeaders,
  }
}

/** Of every answer. */
export const plainHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
} as const
