/** Facts go to standard output, as text or (--json) one object a line; everything else goes to standard error. */
export interface Output {
  readonly isJson: boolean
  /** `text` for people; `fact` for scripts. */
  fact (fact: object, text: string): void
  /** A hint for people. */
  note (text: string): void
  /** What nobody may miss, scripts neither. */
  warn (text: string): void
}

export const outputOf = ({ json = false }: { json?: boolean }): Output => ({
  isJson: json,
  fact: (fact, text) => { process.stdout.write(json ? `${JSON.stringify(fact)}\n` : text === '' ? '' : `${harmlessText(text)}\n`) },
  note: (text) => { if (!json) process.stderr.write(`${harmlessText(text)}\n`) },
  warn: (text) => { process.stderr.write(json ? `${JSON.stringify({ warning: { message: text } })}\n` : `dfs: ${harmlessText(text)}\n`) },
})

/** A key is any text, and others choose it: what a terminal would take for a command (ESC above all) is shown by its number. Lines stay lines. */
// eslint-disable-next-line no-control-regex
export const harmlessText = (text: string): string => text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Columns aligned by their widest cell; the last is left as it is. */
export function table (rows: ReadonlyArray<readonly string[]>): string {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), [])
  return rows.map((row) => row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd()).join('\n')
}

/** 1536 → "1.5 KiB". */
export function sizeText (bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`
}

/** 3725 seconds → "1h02m". */
export function durationText (seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  if (hours > 0) return `${hours}h${String(minutes).padStart(2, '0')}m`
  return minutes > 0 ? `${minutes}m${String(whole % 60).padStart(2, '0')}s` : `${whole}s`
}
