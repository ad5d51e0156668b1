import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { readFileSync } from 'node:fs'

/** Other processes: run, timed, and watched for their peak memory, in the same way for ours and for rivals. */
const watchMs = 25

/** The most bytes that were ever resident (VmHWM, proc(5): Linux alone); the last known once it has ended. */
export function residentPeakBytes (pid: number | undefined): number | undefined {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return match?.[1] === undefined ? undefined : Number(match[1]) * 1024
  } catch {
    return undefined // it has ended, or this is no Linux
  }
}

/** Of processor time, in user and system, over all threads (proc(5), whose ticks are hundredths of a second): Linux alone. */
export function cpuSeconds (pid: number | undefined): number {
  const [, , , , , , , , , , , , , user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/\(.*\)/, 'name').split(' ')
  return (Number(user) + Number(system)) / 100
}

/** Processor time of a process since its start, all threads (proc(5): Linux alone). */
export function cpuSecondsOf (pid: number | undefined): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13) ?? []
  return (Number(user) + Number(system)) / ticksPerSecond
}

/** USER_HZ, the same on every Linux that Node runs on. */
const ticksPerSecond = 100

export interface Ended {
  /** From its start to its end. */
  readonly seconds: number
  readonly peakBytes: number
}

export interface Launched<T> {
  /** The first line it prints, as JSON. */
  readonly answer: Promise<T>
  readonly pid: number | undefined
  /** Rejects unless it ends well or `end` ended it. */
  readonly ended: Promise<Ended>
  end (): Promise<Ended>
}

/** `output`: 'ignore' gives it the null device to write to. */
export function launch<T> (command: string, args: readonly string[], { output = 'pipe' }: { output?: 'pipe' | 'ignore' } = {}): Launched<T> {
  const start = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', output, 'inherit'] })
  let peakBytes = 0
  let isEnding = false
  const timer = setInterval(() => { peakBytes = Math.max(peakBytes, residentPeakBytes(child.pid) ?? 0) }, watchMs)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      clearInterval(timer)
      if (code === 0 || isEnding) resolve({ seconds: (performance.now() - start) / 1000, peakBytes })
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}`))
    })
  })
  ended.catch(() => { /* whoever awaits it hears of it */ })
  return {
    answer: firstLine<T>(child, ended),
    pid: child.pid,
    ended,
    end: () => { isEnding = true; child.kill('SIGKILL'); return ended },
  }
}

function firstLine<T> ({ stdout }: ChildProcess, ended: Promise<unknown>): Promise<T> {
  const answer = new Promise<T>((resolve, reject) => {
    if (stdout === null) return
    createInterface({ input: stdout }).once('line', (line) => { resolve(JSON.parse(line) as T) }).once('close', () => { reject(new Error('it ended and printed nothing')) })
    ended.catch(reject)
  })
  answer.catch(() => { /* as above */ })
  return answer
}

/** Runs a program of this folder to its end: what it printed, and its peak. */
export async function measured<T extends object> (flags: readonly string[], args: readonly string[]): Promise<T & { readonly peakBytes: number }> {
  const { answer, ended } = launch<T>(process.execPath, [...flags, ...args])
  const { peakBytes } = await ended
  return { ...await answer, peakBytes }
}
