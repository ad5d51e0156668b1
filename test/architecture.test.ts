import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

/** A part imports from rows below its own, and from itself: nothing else. Neighbours in a row do not know each other. */
const rows: readonly (readonly string[])[] = [
  ['base', 'disk'],
  ['encryption', 'erasure', 'blockstore', 'cluster', 'audit'],
  ['file', 'replication', 'tables'],
  ['objects'],
  ['network'],
  ['protocols'],
  ['node.ts', 'config.ts', 'node'],
  ['api', 'client'],
  ['cli', 'daemon.ts', 'doors.ts', 'embed.ts', 'index.ts'],
]
const exceptions: ReadonlyArray<readonly [string, string]> = [
  // disk's errors extend base's; a ground floor with two rooms
  ['disk', 'base'],
  // the three files of the node row are one part
  ['node.ts', 'config.ts'],
  ['node.ts', 'node'], ['node', 'node.ts'], ['node', 'config.ts'],
  // the API serves the node; the client runs in browsers too, on base alone
  ['daemon.ts', 'cli'], ['cli', 'daemon.ts'],
  // the programs' own file of what they open alike, and the door of the package
  ['daemon.ts', 'doors.ts'], ['embed.ts', 'doors.ts'], ['index.ts', 'embed.ts'],
]
const clock = /\bDate\.now\b|\bnew Date\(\)|\bperformance\.|(?<![.\w])set(Timeout|Interval|Immediate)\b|\bAbortSignal\.timeout\b|\bMath\.random\b|\b(randomBytes|getRandomValues|randomUUID|randomInt)\b/
const root = join(import.meta.dirname, '..', 'src')

const files = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => relative(root, join(entry.parentPath, entry.name)))

const partOf = (file: string): string => file.split('/')[0] ?? ''
const rowOf = (part: string): number => rows.findIndex((row) => row.includes(part))
const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '')

describe('architecture', () => {
  test('every file stands in a known part', () => {
    expect(files.filter((file) => rowOf(partOf(file)) < 0)).toEqual([])
  })

  test.each(files)('%s imports only from rows below its own, and from its own part', (file) => {
    const wrong = importsOf(file).filter((specifier) => specifier.startsWith('.')).filter((specifier) => {
      const [from, to] = [partOf(file), partOf(normalize(join(dirname(file), specifier)))]
      if (from === 'client') return to !== 'client' && to !== 'base'
      return from !== to && rowOf(to) >= rowOf(from) && !exceptions.some(([a, b]) => a === from && b === to)
    })
    expect(wrong).toEqual([])
  })

  test('only network/ and protocols/ know libp2p', () => {
    const outside = files.filter((file) => !['network', 'protocols'].includes(partOf(file)))
    expect(outside.filter((file) => importsOf(file).some((name) => /^(libp2p$|@libp2p\/|@chainsafe\/|@multiformats\/multiaddr)/.test(name)))).toEqual([])
  })

  test('blockstore/ never sees a key: blocks are encrypted before they are addressed', () => {
    expect(files.filter((file) => partOf(file) === 'blockstore' && importsOf(file).some((name) => name.includes('encryption')))).toEqual([])
  })

  test('time and randomness are arguments outside base/', () => {
    const wrong = files.filter((file) => partOf(file) !== 'base' && clock.test(readFileSync(join(root, file), 'utf8').replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')))
    expect(wrong).toEqual([])
  })

  test('WebCrypto, whose completions come in no fixed order, stays in faces', () => {
    const wrong = files.filter((file) => !['api', 'client'].includes(partOf(file)) && /\bcrypto\.subtle\b/.test(readFileSync(join(root, file), 'utf8')))
    expect(wrong).toEqual([])
  })
})
