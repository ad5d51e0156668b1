import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { partsOf, safeguards } from '../support/safeguards.ts'

const withoutUrl = new URL('../support/without.ts', import.meta.url).href

test.each(Object.entries(safeguards))('"%s" can be taken out of a node: the text is there, and what takes its place can be loaded', async (name, safeguard) => {
  const files = [...new Set(partsOf(safeguard).map(({ file }) => file))]
  const { stdout } = await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', withoutUrl, '--input-type=module', '-e', `
    for (const url of ${JSON.stringify(files.map((file) => new URL(`../../${file}`, import.meta.url).href))}) console.log(Object.keys(await import(url)).length)
  `], { env: { ...process.env, DFS_PROOF_WITHOUT: name } })
  const exported = stdout.trim().split('\n').map(Number)
  expect([exported.length, Math.min(...exported) > 0], stdout).toEqual([files.length, true])
})

test('a majority of one decides where that safeguard is out, and one that there is not ends the node', async () => {
  const majorityOfFive = async (name: string): Promise<string> => (await promisify(execFile)(process.execPath, ['--import', withoutUrl, '--input-type=module', '-e', `console.log((await import(${JSON.stringify(new URL('../../src/tables/electorate.ts', import.meta.url).href)})).majorityOf(5))`], { env: { ...process.env, DFS_PROOF_WITHOUT: name } })).stdout.trim()
  expect(await majorityOfFive('one decides alone')).toBe('1')
  expect(await majorityOfFive('two of however many decide')).toBe('2')
  expect(await majorityOfFive('whoever likes proposes')).toBe('3')
  await expect(majorityOfFive('what there is not')).rejects.toThrow(/there is no safeguard/)
})
