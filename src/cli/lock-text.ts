import type { GivenOptions } from './settings.ts'

/** What keeps a version from being removed, as commands show it; nothing of it where nothing does. */
export interface Lock {
  readonly retention?: { readonly mode: string, readonly until: string }
  readonly isHeld?: true
}

export function lockIn ({ 'x-dfs-retention': mode, 'x-dfs-retain-until': until, 'x-dfs-hold': hold }: Readonly<Record<string, string | undefined>>): Lock {
  return { ...mode === undefined || until === undefined ? {} : { retention: { mode, until } }, ...hold === 'on' ? { isHeld: true } : {} }
}

export const retentionText = (retention: Lock['retention']): string => retention === undefined ? 'none' : `${retention.mode}, until ${retention.until}`

/** What names the version that `--version-id` does. */
export const versionQuery = ({ versionId }: GivenOptions): string => versionId === undefined ? '' : `?version=${encodeURIComponent(String(versionId))}`
