import { collectionVariants } from './collection-variants.ts'
import { eraVariants } from './era-variants.ts'
import { joinVariants } from './join-variants.ts'
import { layoutVariants } from './layout-variants.ts'
import { lossVariants } from './loss-variants.ts'
import { toldVariants, wholeVariants } from './whole-variants.ts'
import type { WorldVariant } from './world.ts'

/** What can be taken out where everything works together. */
export const worldVariants: Readonly<Record<string, () => WorldVariant>> = {
  ...layoutVariants,
  ...wholeVariants,
  ...toldVariants,
  ...lossVariants,
  ...eraVariants,
  ...joinVariants,
  ...Object.fromEntries(Object.entries(collectionVariants).map(([name, { variant }]) => [name, () => variant])),
}
