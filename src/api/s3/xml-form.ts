import { S3Error } from './errors.ts'
import type { XmlNode } from './xml-reader.ts'

/** What an element holds: text, or elements by their name, each once at most unless a star follows its name. */
export type XmlForm = 'text' | { readonly [name: string]: XmlForm }

/** That nothing is in an element which nobody would look at: it may be a condition, or a lock. @throws S3Error MalformedXML */
export function demandForm ({ name, children, text }: XmlNode, form: XmlForm): void {
  if (form === 'text') {
    if (children.length > 0) throw malformed(`${name} takes text alone`)
    return
  }
  if (text.trim() !== '') throw malformed(`${name} takes elements, not text`)
  for (const [i, one] of children.entries()) {
    const many = Object.hasOwn(form, `${one.name}*`)
    const its = many ? form[`${one.name}*`] : Object.hasOwn(form, one.name) ? form[one.name] : undefined
    if (its === undefined) throw malformed(`there is no ${one.name.slice(0, 40)} in a ${name}`)
    if (!many && children.slice(0, i).some((other) => other.name === one.name)) throw malformed(`${name} has one ${one.name} at most`)
    demandForm(one, its)
  }
}

const malformed = (why: string): S3Error => new S3Error('MalformedXML', why)
