import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts'

/** A certificate that is renewed under a node that runs, and SIGHUP. */

const tls = (name: string): string => join(import.meta.dirname, '../support/tls', name)
const faces = ['s3', 'http', 'rpc'] as const
let folder: TemporaryFolder
let cluster: LocalCluster
let node: LocalNode
const files = { cert: '', key: '' }
const fingerprints: Record<string, string> = {}

beforeAll(async () => {
  folder = await temporaryFolder()
  for (const kind of ['cert', 'key'] as const) files[kind] = join(folder.path, `${kind}.pem`)
  await put('first')
  cluster = new LocalCluster(join(folder.path, 'cluster'), { options: () => ['--log-level', 'info', ...faces.flatMap((face) => [`--${face}-listen`, '127.0.0.1:0']), '--tls-cert', files.cert, '--tls-key', files.key] })
  node = await cluster.found()
  for (const name of ['first', 'second']) fingerprints[name] = await fingerprintOf(name)
})
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

async function put (name: string): Promise<void> {
  await copyFile(tls(`${name}.crt`), files.cert)
  await copyFile(tls(`${name}.key`), files.key)
}

async function fingerprintOf (name: string): Promise<string> {
  return new X509Certificate(await readFile(tls(`${name}.crt`))).fingerprint256
}

const urlOf = (face: typeof faces[number]): URL => new URL(node.ready?.endpoints[face] ?? '')

/** Which certificate a new connection is shown. */
async function shownAt (face: typeof faces[number]): Promise<string> {
  const { hostname, port } = urlOf(face)
  const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return Object.entries(fingerprints).find(([, print]) => print === fingerprint256)?.[0] ?? fingerprint256
}
const shown = (): Promise<string[]> => Promise.all(faces.map(shownAt))
const hangUp = (): void => { process.kill(node.pid ?? 0, 'SIGHUP') }
/** How often the log says so. */
const said = (text: string): number => node.log.split(text).length - 1

test('on SIGHUP new connections are shown the new certificate, old ones live on, and a file that is broken leaves the old one, which the log says', async () => {
  expect(await shown()).toEqual(['first', 'first', 'first'])
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false })
  const sockets = new Set<unknown>()
  const askAgain = async (): Promise<string> => {
    const { hostname, port } = urlOf('s3')
    const [answer] = await once(request({ agent, host: hostname, port, path: '/' }).end(), 'response') as [IncomingMessage]
    sockets.add(answer.socket)
    const { fingerprint256 } = (answer.socket as TLSSocket).getPeerCertificate()
    await answer.toArray()
    expect(answer.statusCode).toBe(403)
    return fingerprint256
  }
  expect(await askAgain()).toBe(fingerprints.first)

  await put('second')
  expect(await shown()).toEqual(['first', 'first', 'first'])
  hangUp()
  await until('all faces have the new certificate', 10_000, () => said('the new certificate is in use') === faces.length)
  expect(await shown()).toEqual(['second', 'second', 'second'])
  expect(await askAgain()).toBe(fingerprints.first)

  // half of a renewal, as a program that copies one file after the other leaves it; and no certificate at all
  for (const [i, spoil] of [async () => copyFile(tls('first.crt'), files.cert), async () => writeFile(files.cert, '-----BEGIN CERTIFICATE-----\nhalf of it')].entries()) {
    await spoil()
    hangUp()
    await until('all faces say that it is broken', 10_000, () => said('the certificate could not be read again; the old one stays in use') === faces.length * (i + 1))
    expect(await shown()).toEqual(['second', 'second', 'second'])
  }
  expect(await askAgain()).toBe(fingerprints.first)
  expect(sockets.size).toBe(1)

  await put('first')
  hangUp()
  await until('all faces have the mended one', 10_000, () => said('the new certificate is in use') === 2 * faces.length)
  expect(await shown()).toEqual(['first', 'first', 'first'])
  expect(node.isRunning).toBe(true)
  agent.destroy()
})
