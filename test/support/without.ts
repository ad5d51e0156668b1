import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { partsOf, type Safeguard, safeguards } from './safeguards.ts'

/**
 * Loaded before a node's own modules (`NODE_OPTIONS=--import`, see test/proof/safeguards.proof.ts): the node then runs without one safeguard, named in the environment of whoever proves that it is
 * missed. Nothing of the product knows of this; a text that is not there as it is expected ends the process, for a safeguard that stays must not look as if it had been taken out.
 */
const name = process.env.DFS_PROOF_WITHOUT ?? ''
const safeguard: Safeguard | undefined = safeguards[name]
if (safeguard === undefined) throw new Error(`there is no safeguard "${name}"`)
const sources = new Map<string, string>()
for (const { file, text, instead } of partsOf(safeguard)) {
  const url = new URL(`../../${file}`, import.meta.url).href
  const source = sources.get(url) ?? readFileSync(fileURLToPath(url), 'utf8')
  if (source.split(text).length !== 2) throw new Error(`${file} does not have once what is to be taken out`)
  sources.set(url, source.replace(text, () => instead))
}

registerHooks({
  load (of, context, next) {
    const loaded = next(of, context)
    const source = sources.get(of)
    return source === undefined ? loaded : { ...loaded, source }
  },
})
