import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const source = join(import.meta.dirname, '..', '..', 'src')

/** Everything that a page loads for the client, types left out. */
function loadedFrom (file: string, seen: Set<string>, packages: Set<string>): void {
  if (seen.has(file)) return
  seen.add(file)
  for (const [, isType, specifier = ''] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)\s+(type\s)?[^'"]*from\s+'([^']+)'/gm)) {
    if (isType !== undefined) continue
    if (specifier.startsWith('.')) loadedFrom(join(dirname(file), specifier), seen, packages)
    else packages.add(specifier)
  }
}

test('what a browser loads of the client is small, and knows neither Node nor packages', () => {
  const [files, packages] = [new Set<string>(), new Set<string>()]
  loadedFrom(join(source, 'client', 'browser.ts'), files, packages)
  expect([...packages]).toEqual([])
  expect([...files].map((file) => relative(source, file)).toSorted()).toEqual([
    'base/clock.ts', 'client/browser.ts', 'client/client.ts', 'client/credentials.ts', 'client/errors.ts', 'client/fetch-transport.ts', 'client/metadata.ts', 'client/paths.ts',
  ])
  for (const file of files) expect(readFileSync(file, 'utf8').replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, ''), file).not.toMatch(/\b(Buffer|process|require)\b[.(]/)
})

test('bundlers for browsers are given the part for browsers', () => {
  const { exports } = JSON.parse(readFileSync(join(source, '..', 'package.json'), 'utf8')) as { exports: Record<string, Record<string, unknown>> }
  // the first that fits is taken
  expect(Object.keys(exports['./client'] ?? {})).toEqual(['browser', 'types', 'default'])
  expect(exports['./client']?.browser).toEqual({ types: './dist/client/browser.d.ts', default: './dist/client/browser.js' })
})
