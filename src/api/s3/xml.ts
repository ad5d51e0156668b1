/** Writing XML: elements of text and elements, escaped; nothing else is needed to answer. */
export type XmlContent = string | number | boolean | XmlElement | undefined | readonly XmlContent[]
export interface XmlElement { readonly xml: string }

/** Undefined content leaves the element away; an empty list or text makes an empty one. */
export function element (name: string, content?: XmlContent, attributes: Readonly<Record<string, string>> = {}): XmlElement {
  const opening = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`).join('')
  const inner = written(content)
  return { xml: inner === '' ? `<${name}${opening}/>` : `<${name}${opening}>${inner}</${name}>` }
}

/** The element, if there is something to say. */
export const given = (name: string, content: XmlContent): XmlElement | undefined => content === undefined ? undefined : element(name, content)

const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/'

/** A whole document in S3's namespace. */
export const document = (name: string, content: XmlContent): string => declaration + element(name, content, { xmlns: namespace }).xml
/** Errors have no namespace. */
export const plainDocument = (name: string, content: XmlContent): string => declaration + element(name, content).xml

export const declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'

function written (content: XmlContent): string {
  if (content === undefined) return ''
  if (typeof content === 'object') return 'xml' in content ? content.xml : content.map(written).join('')
  return escaped(String(content))
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&apos;', '\r': '&#13;', '\n': '&#10;', '\t': '&#9;' }

/**
 * XML 1.0 has no way to say most control characters, not even as a reference; S3 writes references all the same (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html), and
 * clients that must know ask for encoding-type=url.
 */
function escaped (text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[&<>"'\u0000-\u001f\u007f\ufffe\uffff]/g, (character) => entities[character] ?? `&#${character.charCodeAt(0)};`)
}
