import { isIP, isIPv4, isIPv6 } from 'node:net'
import { join, resolve } from 'node:path'
import { InvalidInput } from './base/errors.ts'
import { parsePeerId } from './base/peer-id.ts'

/**
 * One validated configuration from four sources, later ones winning: defaults, the file `dfs.json` in the data folder (or --config), the environment
 * (DFS_…), options. A wrong value names the field, what it got and from where, and what it takes.
 */
export interface Config {
  /** Folder of everything this node keeps. Absolute. */
  readonly data: string
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[]
  /** Multiaddrs told to peers instead of the ones listened on, e.g. behind a port mapping. */
  readonly announce: readonly string[]
  /** Multiaddrs (with /p2p/…) dialled at start and for ever after, beside the peers known already. */
  readonly bootstrap: readonly string[]
  /** Finds peers on the local network by multicast DNS. */
  readonly mdns: boolean
  /** Of the local API, on 127.0.0.1. 0: any free port, written to api.json. */
  readonly apiPort: number
  /** /metrics without the token. */
  readonly metricsOpen: boolean
  /** Where the S3 face is, as HOST:PORT (`listenAddressOf`); off: nowhere. Another address than a loopback one needs TLS, or `insecurePublic`. So do the others. */
  readonly s3Listen: string
  /** The only region S3 clients may sign for; undefined: any. */
  readonly s3Region: string | undefined
  /** Where objects are got by plain HTTP and share links lead. */
  readonly httpListen: string
  /** How users reach the HTTP face, where that is not what `publicHosts` and `httpListen` say, e.g. behind another server: what share links begin with. */
  readonly httpUrl: string | undefined
  /** gRPC, gRPC-Web and Connect. */
  readonly rpcListen: string
  /** PEM files of the three; read again when they change, and on SIGHUP. */
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  /** Names by which clients reach the three, beside addresses and localhost; "*.NAME": all below it. */
  readonly publicHosts: readonly string[]
  /** That the three may be reached by others without TLS. */
  readonly insecurePublic: boolean
  /** Addresses and networks of servers before the three, whose X-Forwarded-For and -Proto count. */
  readonly trustedProxies: readonly string[]
  /** Requests a second that one address, and one access key, may send; twice as many at once after a rest. */
  readonly ratePerAddress: number
  readonly ratePerKey: number
  /** Origins of web pages that may use the API at rpc-listen. */
  readonly rpcOrigins: readonly string[]
  /** Tools such as grpcurl may read the gRPC interface from the node (with the token). */
  readonly rpcReflection: boolean
  /** Bytes of blocks this node holds for the cluster; 0: none; undefined: what the disk has, less the reserve. */
  readonly capacityBytes: number | undefined
  /** Bytes of the disk that stay free. */
  readonly reserveBytes: number
  readonly cacheBytes: number
  /** Bytes of blocks in flight, in and out, all peers together. */
  readonly inFlightBytes: number
  /** Bytes that the bodies of all puts together hold in memory; a put beyond them waits. */
  readonly putMemoryBytes: number
  /** Of chunks that are opened for readers. */
  readonly getMemoryBytes: number
  /** A node of the layout that is away for longer is left out of it, until it is back. Milliseconds. */
  readonly evictAfterMs: number
  /** Everything on the disk is read again so often: a pass begins so long after the last one ended, and takes half of that at most. Milliseconds in which the node runs. */
  readonly scrubEveryMs: number
  /** A block that nobody needs any more is kept for so long before it goes. Milliseconds. */
  readonly collectAfterMs: number
  /** Failure domain; copies go to different ones while there are enough. */
  readonly zone: string
  readonly keyFile: string | undefined
  readonly passphraseFile: string | undefined
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly logFormat: 'json' | 'pretty'
}

export type ConfigField = keyof Config
/** Where each value came from, e.g. "default", "environment DFS_ZONE", "option --zone". */
export type ConfigOrigins = Readonly<Record<ConfigField, string>>

const kib = 1024
const units: Readonly<Record<string, number>> = { '': 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: kib, MiB: kib ** 2, GiB: kib ** 3, TiB: kib ** 4 }

interface FieldRule<T> {
  readonly fallback: T
  /** What it takes, for the message. */
  readonly takes: string
  /** A text from the environment or an option, or a JSON value from the file; undefined: not acceptable. */
  readonly parse: (value: unknown) => T | undefined
}

const listenTakes = 'off, or a host and a port such as 127.0.0.1'

type Rules = { readonly [F in ConfigField]: FieldRule<Config[F]> }

const rules: Rules = {
  data: { fallback: '', takes: 'a folder', parse: text((value) => value === '' ? undefined : resolve(value)) },
  listen: { fallback: ['/ip4/0.0.0.0/tcp/4201'], takes: 'multiaddrs with a TCP port, such as /ip4/0.0.0.0/tcp/4201', parse: list(tcpAddress()) },
  announce: { fallback: [], takes: 'multiaddrs with a TCP port, such as /dns4/node1.example.org/tcp/4201', parse: list(tcpAddress({ leastPort: 1 })) },
  bootstrap: { fallback: [], takes: 'multiaddrs with a peer id, such as /ip4/192.168.1.10/tcp/4201/p2p/12D3KooW…', parse: list(tcpAddress({ leastPort: 1, needsPeer: true })) },
  mdns: { fallback: false, takes: 'true or false', parse: boolean },
  apiPort: { fallback: 4200, takes: 'a port, 0 (any free one) to 65535', parse: integer(0, 65_535) },
  metricsOpen: { fallback: false, takes: 'true or false', parse: boolean },
  s3Listen: { fallback: '127.0.0.1:9000', takes: `${listenTakes}:9000`, parse: text(listenText) },
  s3Region: { fallback: undefined, takes: 'a name such as us-east-1', parse: text((value) => /^[a-z0-9-]{1,64}$/.test(value) ? value : undefined) },
  httpListen: { fallback: 'off', takes: `${listenTakes}:8080`, parse: text(listenText) },
  httpUrl: { fallback: undefined, takes: 'a URL such as https://files.example.org', parse: text(originText) },
  rpcListen: { fallback: 'off', takes: `${listenTakes}:9090`, parse: text(listenText) },
  tlsCert: { fallback: undefined, takes: 'a file', parse: text((value) => resolve(value)) },
  tlsKey: { fallback: undefined, takes: 'a file', parse: text((value) => resolve(value)) },
  publicHosts: { fallback: [], takes: 'host names such as files.example.org, *.s3.example.org for all below one, or *', parse: list((value) => value === '*' || isHostName(value.replace(/^\*\./, '')) ? value : undefined) },
  insecurePublic: { fallback: false, takes: 'true or false', parse: boolean },
  trustedProxies: { fallback: [], takes: 'addresses or networks such as 127.0.0.1, 10.0.0.0/8', parse: list((value) => isNetwork(value) ? value : undefined) },
  ratePerAddress: { fallback: 1000, takes: 'requests a second, 1 to 1000000', parse: integer(1, 1_000_000) },
  ratePerKey: { fallback: 1000, takes: 'requests a second, 1 to 1000000', parse: integer(1, 1_000_000) },
  rpcOrigins: { fallback: [], takes: 'origins of web pages such as https://app.example.org', parse: list((value) => /^https?:\/\/[^/\s,]+$/.test(value) && isOrigin(value) ? value : undefined) },
  rpcReflection: { fallback: false, takes: 'true or false', parse: boolean },
  capacityBytes: { fallback: undefined, takes: 'a size such as 500GiB, or 0', parse: size(0) },
  reserveBytes: { fallback: kib ** 3, takes: 'a size such as 1GiB', parse: size(0) },
  cacheBytes: { fallback: kib ** 3, takes: 'a size such as 1GiB', parse: size(0) },
  inFlightBytes: { fallback: 64 * kib ** 2, takes: 'a size of 8MiB to 4GiB', parse: (value) => within(size(0)(value), 8 * kib ** 2, 4 * kib ** 3) },
  putMemoryBytes: { fallback: 512 * kib ** 2, takes: 'a size of 16MiB to 64GiB', parse: (value) => within(size(0)(value), 16 * kib ** 2, 64 * kib ** 3) },
  getMemoryBytes: { fallback: 256 * kib ** 2, takes: 'a size of 16MiB to 64GiB', parse: (value) => within(size(0)(value), 16 * kib ** 2, 64 * kib ** 3) },
  evictAfterMs: { fallback: 3_600_000, takes: 'a duration of 1s to 365d such as 30m, 1h or 2d', parse: (value) => within(duration(value), 1000, 365 * 86_400_000) },
  scrubEveryMs: { fallback: 30 * 86_400_000, takes: 'a duration of 1s to 3650d such as 12h or 30d', parse: (value) => within(duration(value), 1000, 3650 * 86_400_000) },
  collectAfterMs: { fallback: 86_400_000, takes: 'a duration of 1s to 365d such as 1h or 2d', parse: (value) => within(duration(value), 1000, 365 * 86_400_000) },
  zone: { fallback: 'default', takes: 'a name of 1-64 letters, digits, dots, hyphens and underscores', parse: text((value) => /^[\w.-]{1,64}$/.test(value) ? value : undefined) },
  keyFile: { fallback: undefined, takes: 'a file', parse: text((value) => resolve(value)) },
  passphraseFile: { fallback: undefined, takes: 'a file', parse: text((value) => resolve(value)) },
  logLevel: { fallback: 'info', takes: 'trace, debug, info, warn, error or silent', parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent') },
  logFormat: { fallback: 'json', takes: 'json or pretty', parse: oneOf('json', 'pretty') },
}

/** An address, or one with the length of its network, such as 10.0.0.0/8. */
export function isNetwork (text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  return isIP(address) !== 0 && more.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (isIPv4(address) ? 32 : 128)))
}

/** Names in the file and of options; the environment has them as DFS_LISTEN, DFS_API_PORT, … */
export const optionNames: Readonly<Record<ConfigField, string>> = {
  data: 'data', listen: 'listen', announce: 'announce', bootstrap: 'bootstrap', mdns: 'mdns', apiPort: 'api-port', metricsOpen: 'metrics-open',
  rpcOrigins: 'rpc-origins', rpcReflection: 'rpc-reflection',
  s3Listen: 's3-listen', s3Region: 's3-region', httpListen: 'http-listen', httpUrl: 'http-url', rpcListen: 'rpc-listen', tlsCert: 'tls-cert', tlsKey: 'tls-key', publicHosts: 'public-hosts', insecurePublic: 'insecure-public', trustedProxies: 'trusted-proxies',
  ratePerAddress: 'rate-per-address', ratePerKey: 'rate-per-key',
  capacityBytes: 'capacity', reserveBytes: 'reserve', cacheBytes: 'cache', inFlightBytes: 'in-flight', putMemoryBytes: 'put-memory', getMemoryBytes: 'get-memory', evictAfterMs: 'evict-after', collectAfterMs: 'collect-after', scrubEveryMs: 'scrub-every', zone: 'zone', keyFile: 'key-file', passphraseFile: 'passphrase-file',
  logLevel: 'log-level', logFormat: 'log-format',
}
const fields = Object.keys(optionNames) as ConfigField[]
const environmentNameOf = (field: ConfigField): string => `DFS_${optionNames[field].toUpperCase().replaceAll('-', '_')}`

export interface ConfigSources {
  /** By option name ("api-port"), as the command line gave them. */
  readonly options?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Parsed content of the file, by option name, and its path for messages. */
  readonly file?: { readonly path: string, readonly content: unknown }
  /** Where the data folder is unless somebody says otherwise. */
  readonly home: string
}

/** @throws InvalidInput naming the field, what it got and from where, and what it takes; also for names nobody knows in the file */
export function configOf ({ options = {}, environment = {}, file, home }: ConfigSources): { config: Config, origins: ConfigOrigins } {
  const content = fileContent(file)
  const values: Partial<Record<ConfigField, unknown>> = {}
  const origins: Partial<Record<ConfigField, string>> = {}
  for (const field of fields) {
    const name = optionNames[field]
    const [value, origin] = firstGiven([
      [options[name], `option --${name}`],
      [environment[environmentNameOf(field)], `environment ${environmentNameOf(field)}`],
      [content[name], `"${name}" in ${file?.path ?? 'the file'}`],
    ])
    values[field] = origin === undefined ? rules[field].fallback : checked(field, value, origin)
    origins[field] = origin ?? 'default'
  }
  if (values.data === '') values.data = join(home, '.dfs')
  return { config: values as unknown as Config, origins: origins as ConfigOrigins }
}

/** The data folder alone, which must be known before its file can be read. */
export function dataFolderOf ({ options = {}, environment = {}, home }: Pick<ConfigSources, 'options' | 'environment' | 'home'>): string {
  return configOf({ options: { data: options.data }, environment: { DFS_DATA: environment.DFS_DATA }, home }).config.data
}

export interface ListenAddress {
  /** A name or an address, of IPv6 without brackets. */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

/** "HOST:PORT", of IPv6 "[HOST]:PORT"; undefined: nothing of the kind, "off" too. */
export function listenAddressOf (value: string): ListenAddress | undefined {
  const [, bracketed, plain = '', port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(value) ?? []
  const host = bracketed ?? plain
  const isRight = (bracketed === undefined ? isIPv4(host) || isHostName(host) : isIPv6(host)) && Number(port) <= 65_535
  return isRight ? { host, port: Number(port) } : undefined
}

function fileContent (file: ConfigSources['file']): Readonly<Record<string, unknown>> {
  if (file === undefined) return {}
  if (typeof file.content !== 'object' || file.content === null || Array.isArray(file.content)) throw new InvalidInput('config', `${file.path} must hold one JSON object`)
  const known = new Set(Object.values(optionNames))
  for (const name of Object.keys(file.content)) {
    if (!known.has(name)) throw new InvalidInput(name, `${file.path} sets "${name}", which is no setting; there are ${[...known].join(', ')}`)
  }
  return file.content as Readonly<Record<string, unknown>>
}

function firstGiven (candidates: ReadonlyArray<readonly [unknown, string]>): readonly [unknown, string | undefined] {
  return candidates.find(([value]) => value !== undefined) ?? [undefined, undefined]
}

function checked (field: ConfigField, value: unknown, origin: string): unknown {
  const { parse, takes } = rules[field]
  const parsed = parse(value)
  if (parsed === undefined) throw new InvalidInput(optionNames[field], `${optionNames[field]} is ${JSON.stringify(value)} (${origin}); it takes ${takes}`)
  return parsed
}

function text<T> (parse: (value: string) => T | undefined): (value: unknown) => T | undefined {
  return (value) => typeof value === 'string' ? parse(value) : undefined
}

function list<T> (parse: (value: string) => T | undefined): (value: unknown) => T[] | undefined {
  return (value) => {
    const items = typeof value === 'string' ? value.split(',').filter((item) => item !== '') : value
    if (!Array.isArray(items)) return undefined
    const parsed = items.map((item) => typeof item === 'string' ? parse(item) : undefined)
    return parsed.includes(undefined) ? undefined : parsed as T[]
  }
}

/** Whether a text is a host by that protocol of a multiaddr (https://multiformats.io/multiaddr/). */
const hosts: ReadonlyMap<string, (host: string) => boolean> = new Map([
  ['ip4', isIPv4], ['ip6', isIPv6], ...['dns', 'dns4', 'dns6'].map((name) => [name, isHostName] as const),
])

function isHostName (text: string): boolean {
  return text.length <= 253 && text.split('.').every((label) => /^\w([\w-]{0,61}\w)?$/.test(label))
}

/** A multiaddr that TCP can listen on or dial, `/p2p/ID` at its end or not; port 0, to listen on, is any free one. */
function tcpAddress ({ leastPort = 0, needsPeer = false }: { leastPort?: number, needsPeer?: boolean } = {}): (value: string) => string | undefined {
  return (value) => {
    const [, protocol = '', host = '', port = '', peer] = /^\/(\w+)\/([^/]+)\/tcp\/(\d{1,5})(?:\/p2p\/([^/]+))?$/.exec(value) ?? []
    const isRight = hosts.get(protocol)?.(host) === true && Number(port) >= leastPort && Number(port) <= 65_535 && (peer === undefined ? !needsPeer : isPeerId(peer))
    return isRight ? value : undefined
  }
}

function originText (value: string): string | undefined {
  return /^https?:\/\/[^/?#\s@]+\/?$/.test(value) && URL.canParse(value) ? value.replace(/\/$/, '') : undefined
}

function listenText (value: string): string | undefined {
  return value === 'off' || listenAddressOf(value) !== undefined ? value : undefined
}

/** As browsers write it: in lower case, without the scheme's own port. */
function isOrigin (text: string): boolean {
  try { return new URL(text).origin === text } catch { return false } // it says nothing but that it is none
}

function isPeerId (text: string): boolean {
  try { parsePeerId(text); return true } catch { return false } // it says nothing but that it is none
}

function boolean (value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value
  return value === 'true' || value === '1' ? true : value === 'false' || value === '0' ? false : undefined
}

function integer (least: number, most: number): (value: unknown) => number | undefined {
  return (value) => {
    const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
    return typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most ? number : undefined
  }
}

function size (least: number): (value: unknown) => number | undefined {
  return (value) => {
    if (typeof value === 'number') return Number.isSafeInteger(value) && value >= least ? value : undefined
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)$/.exec(value) : null
    const unit = units[match?.[2] ?? 'none']
    return match === null || unit === undefined ? undefined : within(Math.floor(Number(match[1]) * unit), least, Number.MAX_SAFE_INTEGER)
  }
}

/** Bytes of a size such as 500GiB; undefined: it is none. */
export const sizeOf = (text: string): number | undefined => size(0)(text)

const durations: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** In milliseconds; a number is that already. */
function duration (value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined
  const match = typeof value === 'string' ? /^(\d+)([smhd])$/.exec(value) : null
  return match === null ? undefined : Number(match[1]) * (durations[match[2] ?? ''] ?? Number.NaN)
}

function within (value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined
}

function oneOf<T extends string> (...choices: readonly T[]): (value: unknown) => T | undefined {
  return (value) => choices.find((choice) => choice === value)
}

