import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const top = join(import.meta.dirname, '..', '..')

// test/package.test.ts runs the examples
test.each([['CLIENT', 'client'], ['EMBEDDING', 'embed']])('docs/%s.md shows the example that is run', (document, example) => {
  const [, shown] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(top, 'docs', `${document}.md`), 'utf8')) ?? []
  expect(shown).toBe(readFileSync(join(top, 'examples', `${example}.mjs`), 'utf8'))
})
