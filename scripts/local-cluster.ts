import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { connectLocal } from '../src/client/index.ts'
import type { NodeStatus } from '../src/node.ts'

/**
 * Nodes as real processes on loopback, driven through the command line as a person would: for `npm run cluster`, the tests and the benchmarks.
 */

export const dfsPath = fileURLToPath(new URL('../bin/dfs', import.meta.url))

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one `dfs` command to its end. Never rejects for an exit code: look at it. */
export function dfs (args: readonly string[], { input, timeoutMs = 120_000, env = {}, onStdout, onStderr, program = dfsPath, signal }: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env }, signal })
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []]
    const timer = setTimeout(() => { child.kill('SIGKILL'); reject(new Error(`dfs ${args.join(' ')} did not end within ${timeoutMs} ms\n${Buffer.concat(stderr).toString()}`)) }, timeoutMs)
    child.stdout.on('data', (bytes: Buffer) => { stdout.push(bytes); onStdout?.(bytes) })
    child.stderr.on('data', (bytes: Buffer) => { stderr.push(bytes); onStderr?.(bytes) })
    child.on('error', reject)
    child.on('close', (code) => { clearTimeout(timer); resolve({ code: code ?? -1, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() }) })
    child.stdin.on('error', () => { /* the command may end before it has read everything: its exit code says why */ })
    child.stdin.end(input)
  })
}

export interface RunOptions {
  readonly input?: Uint8Array | string
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string>>
  readonly onStdout?: (bytes: Uint8Array) => void
  readonly onStderr?: (bytes: Uint8Array) => void
  /** Another checkout's bin/dfs. */
  readonly program?: string
  /** Ends the command. */
  readonly signal?: AbortSignal
}

/** Runs a command with --json and gives its lines; rejects with what it printed when it fails. */
async function dfsJson<T> (args: readonly string[], options?: RunOptions): Promise<T[]> {
  const { code, stdout, stderr } = await dfs([...args, '--json'], options)
  // what was asked is printed, and says that redundancy is below what it should be
  const isDegraded = code === 11 && stdout !== ''
  if (code !== 0 && !isDegraded) throw new Error(`dfs ${args.join(' ')} ended with ${code}: ${stderr.trim()}`)
  return stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as T)
}

export interface Ready {
  readonly event: 'ready'
  readonly peerId: string
  readonly clusterId: string
  readonly addresses: readonly string[]
  readonly api: string
  readonly endpoints: Readonly<Record<string, string>>
  readonly data: string
}

/** One node: a data folder, and a process over it when it runs. */
export class LocalNode {
  readonly data: string
  readonly options: readonly string[]
  readonly #program: string
  readonly #signal: AbortSignal | undefined
  ready: Ready | undefined
  #process: ChildProcess | undefined
  #log: Buffer[] = []

  /** `program`: another checkout's bin/dfs. `signal`: ends commands under way; the node itself is ended by stop(). */
  constructor (data: string, options: readonly string[], { program = dfsPath, signal }: { program?: string, signal?: AbortSignal } = {}) {
    this.data = data
    this.options = options
    this.#program = program
    this.#signal = signal
  }

  get pid (): number | undefined { return this.#process?.pid }
  get isRunning (): boolean { return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null }
  /** What the process wrote to its log since it was last started (the last 2,000 pieces). */
  get log (): string { return Buffer.concat(this.#log).toString() }

  run (args: readonly string[], options?: RunOptions): Promise<Finished> { return dfs([...args, '--data', this.data], { program: this.#program, signal: this.#signal, ...options }) }
  json<T> (args: readonly string[], options?: RunOptions): Promise<T[]> { return dfsJson<T>([...args, '--data', this.data], { program: this.#program, signal: this.#signal, ...options }) }

  /** Starts the process with `dfs start`, or `dfs join TOKEN --start`, and resolves when it says that it is ready. */
  async start (command: readonly string[] = ['start'], { env = {}, timeoutMs = 60_000 }: { env?: Readonly<Record<string, string>>, timeoutMs?: number } = {}): Promise<Ready> {
    this.#signal?.throwIfAborted()
    const options = command[0] === 'start' ? [] : this.options
    const child = spawn(this.#program, [...command, '--data', this.data, ...options, '--json'], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    this.#process = child
    this.#log = []
    child.stderr.on('data', (bytes: Buffer) => { this.#log.push(bytes); if (this.#log.length > 2000) this.#log.shift() })
    this.ready = await new Promise<Ready>((resolve, reject) => {
      const fail = (why: string): void => { child.kill('SIGKILL'); reject(new Error(`node ${this.data} ${why}\n${this.log}`)) }
      const timer = setTimeout(() => { fail(`was not ready within ${timeoutMs} ms`) }, timeoutMs)
      child.on('exit', (code, signal) => { clearTimeout(timer); fail(`ended with ${code ?? signal}`) })
      createInterface({ input: child.stdout }).on('line', (line) => {
        const event = JSON.parse(line) as Ready
        if (event.event === 'ready') { clearTimeout(timer); resolve(event) }
      })
    })
    return this.ready
  }

  /** Sends a signal and waits for the process to end. `SIGKILL` is the crash, `SIGTERM` the graceful stop. */
  async stop (signal: 'SIGKILL' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    const child = this.#process
    if (child === undefined || !this.isRunning) return
    const ended = new Promise((resolve) => { child.once('exit', resolve) })
    child.kill(signal)
    await ended
  }

  /** SIGSTOP and SIGCONT: the peer is there and does not answer. */
  freeze (): void { this.#process?.kill('SIGSTOP') }
  thaw (): void { this.#process?.kill('SIGCONT') }

  /** Bytes resident, from the kernel; undefined when it does not run. Peak with 'VmHWM'. */
  async memoryBytes (field: 'VmRSS' | 'VmHWM' | 'RssAnon' = 'VmHWM'): Promise<number | undefined> {
    if (!this.isRunning) return undefined
    const { readFile } = await import('node:fs/promises')
    const match = new RegExp(`${field}:\\s+(\\d+) kB`).exec(await readFile(`/proc/${this.pid}/status`, 'utf8'))
    return match?.[1] === undefined ? undefined : Number(match[1]) * 1024
  }
}

/** A founder and joiners in one folder, on free ports of loopback. */
export class LocalCluster implements AsyncDisposable {
  readonly nodes: LocalNode[] = []
  readonly #folder: string
  readonly #options: (index: number) => readonly string[]
  readonly #programOf: (index: number) => string
  readonly #hostOf: (index: number) => string
  readonly #signal: AbortSignal | undefined

  /** `options`: more options for init and join of the index-th node (from 0), e.g. a capacity. `programOf`: what is run for it, in the place of dfs. `hostOf`: where it listens to peers. `signal`: ends commands under way, and nothing is started any more. */
  constructor (folder: string, { options = () => [], programOf = () => dfsPath, hostOf = () => '127.0.0.1', signal }: { options?: (index: number) => readonly string[], programOf?: (index: number) => string, hostOf?: (index: number) => string, signal?: AbortSignal } = {}) {
    this.#folder = folder
    this.#options = options
    this.#programOf = programOf
    this.#hostOf = hostOf
    this.#signal = signal
  }

  node (index: number): LocalNode {
    const node = this.nodes[index]
    if (node === undefined) throw new RangeError(`there is no node ${index + 1}`)
    return node
  }

  /** Starts the nodes that an earlier run left in the folder; resolves to how many. */
  async resume (): Promise<number> {
    while (existsSync(join(this.#pathOf(this.nodes.length), 'keyring'))) this.nodes.push(new LocalNode(this.#pathOf(this.nodes.length), [], { program: this.#programOf(this.nodes.length), signal: this.#signal }))
    // all at once: none has to wait for a majority
    await Promise.all(this.nodes.map(async (node) => node.start()))
    return this.nodes.length
  }

  /** Founds the cluster with one running node. */
  async found (): Promise<LocalNode> {
    const node = await this.#make()
    const { code, stderr } = await node.run(['init', ...node.options, '--no-passphrase', '--json'])
    if (code !== 0) throw new Error(`dfs init ended with ${code}: ${stderr}`)
    await node.start()
    return node
  }

  /** Joins and starts one more node, by this token, or by one that it is invited with. */
  async add (token?: string): Promise<LocalNode> {
    const [invite] = token === undefined ? await this.node(0).json<{ token: string }>(['invite']) : [{ token }]
    const node = await this.#make()
    await node.start(['join', invite?.token ?? '', '--start', '--no-passphrase'])
    return node
  }

  async grow (count: number): Promise<void> {
    if (this.nodes.length === 0) await this.found()
    while (this.nodes.length < count) await this.add()
    await this.connected()
  }

  /** Resolves when every running node can serve. */
  async ready ({ timeoutMs = 30_000 }: { timeoutMs?: number } = {}): Promise<void> {
    await this.#all('is ready', timeoutMs, ({ isReady }) => isReady)
  }

  /** Resolves when every running node sees every running node. */
  async connected ({ timeoutMs = 30_000 }: { timeoutMs?: number } = {}): Promise<void> {
    const count = this.nodes.filter((node) => node.isRunning).length
    await this.#all(`sees ${count - 1} peers`, timeoutMs, ({ members }) => members.filter(({ isConnected }) => isConnected).length >= count)
  }

  async #all (what: string, timeoutMs: number, holds: (status: NodeStatus) => boolean): Promise<void> {
    await Promise.all(this.nodes.filter((node) => node.isRunning).map(async (node) => {
      const client = await connectLocal(node.data)
      try {
        await until(`${node.data} ${what}`, timeoutMs, async () => holds(await client.json<NodeStatus>('GET', '/v1/status')))
      } finally {
        client.close()
      }
    }))
  }

  async stop (signal: 'SIGKILL' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    await Promise.all(this.nodes.map((node) => { node.thaw(); return node.stop(signal) }))
  }

  async [Symbol.asyncDispose] (): Promise<void> { await this.stop('SIGKILL') }

  async #make (): Promise<LocalNode> {
    const [listen, api] = await freePorts(2)
    const index = this.nodes.length
    const node = new LocalNode(this.#pathOf(index), ['--listen', `/ip4/${this.#hostOf(index)}/tcp/${listen}`, '--api-port', String(api), '--s3-listen', 'off', ...this.#options(index)], { program: this.#programOf(index), signal: this.#signal })
    this.nodes.push(node)
    return node
  }

  #pathOf (index: number): string { return join(this.#folder, `node-${index + 1}`) }
}

/** Polls a condition; rejects with what was awaited when the time is up. */
export async function until (what: string, timeoutMs: number, condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Ports of loopback that were free a moment ago, all different. */
export async function freePorts (count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer().on('error', reject).listen(0, '127.0.0.1', () => { resolve(server) })
  })))
  const ports = servers.map((server) => { const address = server.address(); return typeof address === 'object' && address !== null ? address.port : 0 })
  await Promise.all(servers.map((server) => new Promise((resolve) => { server.close(resolve) })))
  return ports
}
