/** What a proof did, for the table at the end of `npm run prove`. */
export interface Tried {
  readonly what: string
  /** Kills, rounds, seeds, cases. */
  readonly times: number
  /** Writes that were acknowledged, where there were any. */
  readonly acknowledged?: number
  /** Of them; or promises broken. */
  readonly lost: number
  /** Of a simulation: how long nodes ran, on its clock, all together; each of `times` is a seed. */
  readonly nodeMs?: number
}

declare module 'vitest' {
  interface TaskMeta { tried?: Tried[] }
}

/** Enters it under the running test; told also when the test fails afterwards. */
export function tried ({ meta }: { meta: { tried?: Tried[] } }, row: Tried): void {
  meta.tried = [...meta.tried ?? [], row]
}
