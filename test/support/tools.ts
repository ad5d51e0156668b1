import { spawn, spawnSync } from 'node:child_process'

/** Programs of the machine, in a test. */
export interface Ran {
  readonly code: number
  readonly stdout: string
  /** Both, in the order they came. */
  readonly output: string
}

/** Where a program is; undefined: it is not there, which is said aloud once. */
export function toolAt (name: string, why: string): string | undefined {
  const found = spawnSync('/bin/sh', ['-c', `command -v ${name}`]).stdout.toString().trim()
  if (found !== '') return found
  // a test that says nothing of what it did not do is believed to have done it
  process.stderr.write(`SKIPPED: ${name} is not installed (scripts/clients.sh), so ${why}\n`)
  return undefined
}

/** Runs a program to its end in an environment of its own: settings of the machine's user would reach clients otherwise. */
export function run (program: string, args: readonly string[], { env = {}, cwd, timeoutMs = 60_000, input }: { env?: Readonly<Record<string, string>>, cwd?: string, timeoutMs?: number, input?: string } = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { PATH: process.env.PATH ?? '', LANG: 'C.UTF-8', ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    const timer = setTimeout(() => { child.kill('SIGKILL'); reject(new Error(`${program} ${args.join(' ')} did not end within ${timeoutMs} ms\n${output}`)) }, timeoutMs)
    let [stdout, output] = ['', '']
    child.stdout.on('data', (bytes: Buffer) => { stdout += bytes.toString(); output += bytes.toString() })
    child.stderr.on('data', (bytes: Buffer) => { output += bytes.toString() })
    child.on('error', reject)
    child.on('close', (code) => { clearTimeout(timer); resolve({ code: code ?? -1, stdout, output }) })
    child.stdin.on('error', () => { /* it may end before it has read everything */ })
    child.stdin.end(input)
  })
}

/** `run`, rejecting with what it printed when it fails. */
export async function runWell (program: string, args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<Ran> {
  const ran = await run(program, args, options)
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${ran.code}:\n${ran.output}`)
  return ran
}
