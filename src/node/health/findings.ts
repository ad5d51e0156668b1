/** What is wrong, or worth knowing, and what to do about it: a line of `dfs doctor`. */
export interface Finding {
  /** error: it does not work, or data is in danger; warning: it is less safe, or less fast, than it should be; note: worth knowing, and perhaps meant so. */
  readonly severity: 'error' | 'warning' | 'note'
  /** A word for scripts; never changes. */
  readonly code: string
  readonly what: string
  readonly means: string
  readonly todo: string
}

const finding = (severity: Finding['severity']) => (code: string, what: string, { means, todo }: { means: string, todo: string }): Finding => ({ severity, code, what, means, todo })
export const [anError, aWarning, aNote] = [finding('error'), finding('warning'), finding('note')] as const

const order = { error: 0, warning: 1, note: 2 } as const
export const bySeverity = (findings: readonly Finding[]): readonly Finding[] => findings.toSorted((a, b) => order[a.severity] - order[b.severity])
