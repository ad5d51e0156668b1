import { S3Error } from './errors.ts'

/**
 * Reads the XML that S3 clients send: elements and text. There are no document types, no entities but the five that XML has, no processing instructions behind the
 * first: what an XML bomb or an external entity is made of is refused, not understood (https://cheatsheetseries.owasp.org/cheatsheets/XML_Security_Cheat_Sheet.html).
 */
export interface XmlNode {
  /** Without prefix. */
  readonly name: string
  readonly children: readonly XmlNode[]
  /** Of an element without children: its text. */
  readonly text: string
}

export const xmlLimits = {
  maxBytes: 4 * 1024 * 1024,
  maxDepth: 16,
  maxElements: 100_000,
} as const

/** The root element, which must have that name. @throws S3Error MalformedXML */
export function parseXml (bytes: Uint8Array, root: string): XmlNode {
  const reader = new Reader(textIn(bytes))
  const node = reader.document()
  if (node.name !== root) throw malformed(`the root element is ${node.name.slice(0, 40)}, not ${root}`)
  return node
}

export const child = (node: XmlNode | undefined, name: string): XmlNode | undefined => node?.children.find((other) => other.name === name)
export const childText = (node: XmlNode | undefined, name: string): string | undefined => child(node, name)?.text
export const childrenOf = (node: XmlNode | undefined, name: string): readonly XmlNode[] => node?.children.filter((other) => other.name === name) ?? []

const malformed = (why: string): S3Error => new S3Error('MalformedXML', `the XML that came is not well-formed, or not of the form that is expected: ${why}`)

function textIn (bytes: Uint8Array): string {
  if (bytes.byteLength > xmlLimits.maxBytes) throw malformed('it is too long')
  try { return new TextDecoder('utf-8', { fatal: true }).decode(bytes) } catch (cause) { throw new S3Error('MalformedXML', 'the XML that came is not UTF-8', { cause }) }
}

class Reader {
  readonly #text: string
  #at = 0
  #elements = 0

  constructor (text: string) { this.#text = text }

  document (): XmlNode {
    this.#skipSpace()
    if (this.#isAt('<?xml')) this.#past('?>')
    this.#skipBetween()
    const root = this.#element(1)
    this.#skipBetween()
    if (this.#at < this.#text.length) throw malformed('something follows the root element')
    return root
  }

  #element (depth: number): XmlNode {
    if (depth > xmlLimits.maxDepth) throw malformed('it is nested too deeply')
    if (++this.#elements > xmlLimits.maxElements) throw malformed('it has too many elements')
    const [opening, name, selfClosing] = this.#match(openingTag)
    if (opening === undefined || name === undefined) throw malformed('an element was expected')
    if (selfClosing === '/') return { name: localName(name), children: [], text: '' }
    const children: XmlNode[] = []
    let text = ''
    for (;;) {
      const [closing, closed] = this.#match(closingTag)
      if (closing !== undefined) {
        if (closed !== name) throw malformed(`${name.slice(0, 40)} is not closed`)
        // nothing that S3 knows has both, and of the two one would be passed over
        if (children.length > 0 && text.trim() !== '') throw malformed(`${name.slice(0, 40)} has text between its elements`)
        return { name: localName(name), children, text: children.length > 0 ? '' : text }
      }
      if (this.#isAt('<!--')) this.#past('-->')
      else if (this.#isAt('<![CDATA[')) text += this.#past(']]>').slice('<![CDATA['.length, -3)
      else if (this.#isAt('<')) children.push(this.#element(depth + 1))
      else text += this.#characters()
    }
  }

  #characters (): string {
    const end = this.#text.indexOf('<', this.#at)
    if (end < 0) throw malformed('it ends within an element')
    const raw = this.#text.slice(this.#at, end)
    this.#at = end
    return unescaped(raw)
  }

  /** Space and comments; a document type is neither. */
  #skipBetween (): void {
    for (this.#skipSpace(); this.#isAt('<!--'); this.#skipSpace()) this.#past('-->')
  }

  #skipSpace (): void { this.#match(/[\uFEFF\s]*/y) }
  #isAt (what: string): boolean { return this.#text.startsWith(what, this.#at) }

  #past (end: string): string {
    const at = this.#text.indexOf(end, this.#at)
    if (at < 0) throw malformed(`"${end}" is missing`)
    const passed = this.#text.slice(this.#at, at + end.length)
    this.#at = at + end.length
    return passed
  }

  #match (pattern: RegExp): Array<string | undefined> {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match === null) return []
    this.#at += match[0].length
    return match
  }
}

const openingTag = /<([A-Za-z_][\w.:-]{0,127})(?:\s+[\w.:-]{1,128}\s*=\s*(?:"[^"<]{0,1024}"|'[^'<]{0,1024}')){0,16}\s*(\/?)>/y
const closingTag = /<\/([A-Za-z_][\w.:-]{0,127})\s*>/y
const localName = (name: string): string => name.slice(name.indexOf(':') + 1)

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: '\'' }

function unescaped (raw: string): string {
  if (!raw.includes('&')) return raw
  return raw.replaceAll(/&([^;&]{0,12})(;?)/g, (_, name: string, end: string) => {
    const known = end === ';' ? entities[name] : undefined
    if (known !== undefined) return known
    const number = /^#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}))$/.exec(name)
    const code = number === null || end !== ';' ? Number.NaN : number[1] === undefined ? Number.parseInt(number[2] ?? '', 16) : Number(number[1])
    if (!(code <= 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) throw malformed('an entity is not known')
    return String.fromCodePoint(code)
  })
}
