import { utf8 } from '../base/bytes.ts'
import { InvalidInput } from '../base/errors.ts'

export const keyLimits = { maxBytes: 1024 } as const

/**
 * A key is 1-1,024 bytes of well-formed UTF-8, any of them: it is sealed in rows and names nothing on any disk, so "../../x" is a key like another.
 * @throws InvalidInput
 */
export function checkKey (key: string): Uint8Array {
  if (!key.isWellFormed()) throw new InvalidInput('key', 'a key is well-formed Unicode text; this one holds a lone surrogate')
  const bytes = utf8(key)
  if (bytes.byteLength < 1 || bytes.byteLength > keyLimits.maxBytes) throw new InvalidInput('key', `a key has 1-${keyLimits.maxBytes} bytes of UTF-8; this one has ${bytes.byteLength}`)
  return bytes
}
