import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const here = import.meta.dirname

/** Installs what dfs is measured against, when `named` is missing. Says why when it cannot. */
export function installed (named: string): string | undefined {
  const modules = join(here, 'node_modules')
  if (existsSync(join(modules, named)) && existsSync(join(modules, '.package-lock.json'))) return undefined
  console.log('  installing rivals (npm ci --prefix bench)')
  const { status, error, stderr } = spawnSync('npm', ['ci', '--prefix', here, '--omit=peer', '--no-audit', '--no-fund', '--loglevel=error'], { encoding: 'utf8' })
  return status === 0 ? undefined : `npm ci --prefix bench failed: ${error?.message ?? stderr.trim().split('\n').slice(0, 3).join('; ')}`
}
