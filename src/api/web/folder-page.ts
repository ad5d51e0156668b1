import type { ObjectInfo, ObjectPage } from '../../objects/index.ts'
import { html, type Html, page } from './html.ts'
import { pathOf } from './paths.ts'

export const folderLimits = {
  /** Entries of a page. */
  pageEntries: 500,
} as const

/** What is directly below a prefix, for people. */
export function folderPage (bucket: string, prefix: string, { objects, prefixes, next }: ObjectPage, { isFirst }: { isFirst: boolean }): Buffer {
  const title = `${bucket}/${prefix}`
  const following = next === undefined ? undefined : `?after=${encodeURIComponent(next)}`
  const files = objects.filter(({ key }) => key !== prefix)
  const rows = [
    ...prefixes.map((folder) => html`<tr><td><a href="${pathOf(bucket, folder)}">${nameIn(prefix, folder)}</a></td><td class="size"></td><td class="time"></td></tr>\n`),
    ...files.map((info) => objectRow(prefix, info)),
  ]
  const range = isFirst ? '' : ', further entries'
  return page({
    title,
    head: following === undefined ? undefined : html`<link rel="next" href="${following}">\n`,
    body: html`<nav aria-label="Folders">${crumbs(bucket, prefix)}</nav>
<main>
<h1>${title}</h1>
${rows.length === 0 ? html`<p>Nothing is here.</p>` : html`<table>
<caption>${counted(prefixes.length, 'folder')} and ${counted(files.length, 'file')}${range}</caption>
<thead><tr><th scope="col">Name</th><th scope="col" class="size">Size</th><th scope="col" class="time">Modified</th></tr></thead>
<tbody>
${rows}</tbody>
</table>`}
${following === undefined ? undefined : html`<p><a rel="next" href="${following}">Next page</a></p>`}
</main>`,
  })
}

function objectRow (prefix: string, { bucket, key, sizeBytes, modified }: ObjectInfo): Html {
  return html`<tr><td><a href="${pathOf(bucket, key)}">${nameIn(prefix, key)}</a></td><td class="size">${sizeText(sizeBytes)}</td><td class="time"><time datetime="${modified}">${modified.slice(0, 16).replace('T', ' ')}</time></td></tr>\n`
}

const nameIn = (prefix: string, key: string): string => key.slice(prefix.length) || key

function crumbs (bucket: string, prefix: string): Html[] {
  const parts = prefix.split('/').slice(0, -1)
  return [html`<a href="${pathOf(bucket, '')}">${bucket}</a>`, ...parts.map((part, i) => html` / <a href="${pathOf(bucket, `${parts.slice(0, i + 1).join('/')}/`)}">${part}</a>`)]
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** "512 bytes", "1.5 MiB". */
export function sizeText (bytes: number): string {
  if (bytes < 1024) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), units.length)
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`
}
