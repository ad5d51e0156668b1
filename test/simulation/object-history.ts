import { type Invocation, isLinearizable } from './linearizable.ts'

/** The version that is current, by its id; undefined: there is no object. */
export type ObjectState = string | undefined

/** What a client did to one key, and what it may count on. */
export interface ObjectOperation {
  readonly key: string
  readonly what: string
  readonly startMs: number
  /** Infinity: nobody knows whether it happened. */
  readonly endMs: number
  readonly did:
    | { readonly kind: 'read', readonly saw: ObjectState }
    | { readonly kind: 'put', readonly version: string, readonly condition: Condition }
    /** Told that the condition did not hold. */
    | { readonly kind: 'refused', readonly condition: Condition }
    | { readonly kind: 'remove' }
}

/** Undefined: none; 'absent': only if there is no object; else only if this version is current. */
export type Condition = 'absent' | { readonly version: string } | undefined

const holds = (condition: Condition, state: ObjectState): boolean => condition === undefined || (condition === 'absent' ? state === undefined : state === condition.version)

/** What no register could have told, key by key. */
export function objectViolations (history: readonly ObjectOperation[]): readonly string[] {
  return [...Map.groupBy(history, ({ key }) => key)].flatMap(([key, operations]) => {
    const invocations = operations.map(({ what, startMs, endMs, did }): Invocation<ObjectState> => ({
      what, startMs, endMs, isRead: did.kind === 'read' || did.kind === 'refused',
      apply: (state) => {
        switch (did.kind) {
          case 'read': return state === did.saw ? { state } : 'impossible'
          case 'put': return holds(did.condition, state) ? { state: did.version } : endMs === Infinity ? { state } : 'impossible'
          case 'refused': return holds(did.condition, state) ? 'impossible' : { state }
          case 'remove': return { state: undefined }
          default: return did satisfies never
        }
      },
    }))
    return isLinearizable(invocations, undefined) ? [] : [`${key} was told what no register says:\n${operations.toSorted((a, b) => a.startMs - b.startMs).map(({ what, startMs, endMs }) => `    ${startMs.toFixed(1)}-${endMs.toFixed(1)} ${what}`).join('\n')}`]
  })
}

export const shortOf = (version: ObjectState): string => version === undefined ? 'nothing' : version.slice(0, 8)
