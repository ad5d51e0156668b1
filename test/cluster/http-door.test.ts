import { execFile } from 'node:child_process'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfsPath, type LocalNode } from '../../scripts/local-cluster.ts'
import type { SecretAccessKey, Share } from '../../src/objects/index.ts'
import { hasChromium, servedPage } from '../support/chromium.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, realCluster, type RealCluster } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** The HTTP door of three real nodes, of which one is dead, the last or the founder. */

const run = promisify(execFile)
const content = noiseBytes(5 * 1024 ** 2, 1)
let real: RealCluster
let living: readonly [number, number]
let key: SecretAccessKey

const node = (which: number): LocalNode => real.node(living[which] ?? 0)
const urlOf = (index: number, path: string): string => `${node(index).ready?.endpoints.http}${path}`
const authorized = (): Record<string, string> => ({ authorization: `Bearer ${key.id}:${key.secret}` })
const get = (index: number, path: string, headers: Record<string, string> = {}): Promise<Response> => fetch(urlOf(index, path), { headers })
const bytesOf = async (answer: Response): Promise<Uint8Array> => new Uint8Array(await answer.arrayBuffer())

async function isThere (program: string): Promise<boolean> {
  try { await access(`/usr/bin/${program}`); return true } catch { return false }
}

const hasPlayer = await isThere('ffmpeg') && await isThere('ffprobe')
if (!hasPlayer) console.warn('SKIPPED: no video is sought in, for ffmpeg is missing; Debian\'s package ffmpeg has it')

describe.each([[3, 1, 2], [1, 2, 3]])('three nodes, number %d of them dead', (dead, first, second) => {
  beforeAll(async () => {
    living = [first - 1, second - 1]
    real = await realCluster(3, { options: () => ['--http-listen', '127.0.0.1:0'] })
    ;[key] = await node(0).json<SecretAccessKey>(['key', 'create', 'browser', '--bucket', bucketName]) as [SecretAccessKey]
    await (await real.via(living[0])).put('a/film', content)
    await real.node(dead - 1).stop('SIGKILL')
  }, 120_000)
  afterAll(async () => { await real?.[Symbol.asyncDispose]() })

  test('give an object whole and by range, through any node, to whoever has a key', async () => {
    const answer = await get(1, `/${bucketName}/a/film`, authorized())
    expect(digestOfBytes(await bytesOf(answer))).toBe(digestOfBytes(content))
    const part = await get(0, `/${bucketName}/a/film`, { ...authorized(), range: 'bytes=3000000-3999999' })
    expect(part.status).toBe(206)
    expect(Buffer.compare(await bytesOf(part), content.subarray(3_000_000, 4_000_000))).toBe(0)
    expect((await get(1, `/${bucketName}/a/film`)).status).toBe(401)
    expect(await (await get(1, `/${bucketName}/a/`, authorized())).text()).toContain(`<a href="/${bucketName}/a/film">film</a>`)
  })

  test('show at one node what was just put at the other', async () => {
    for (let i = 0; i < 10; i++) {
      expect((await fetch(urlOf(i % 2, `/${bucketName}/fresh`), { method: 'PUT', body: `round ${i}`, headers: authorized() })).status).toBe(201)
      expect(await (await get(1 - i % 2, `/${bucketName}/fresh`, authorized())).text()).toBe(`round ${i}`)
    }
  })

  test('take an upload in pieces, each through another node, and what is left of it is nowhere before the last', async () => {
    const pieces = [content.subarray(0, 2_000_000), content.subarray(2_000_000, 2_000_001), content.subarray(2_000_001)]
    const headers = { ...authorized(), 'tus-resumable': '1.0.0' }
    const begun = await fetch(urlOf(0, `/${bucketName}/in-pieces`), { method: 'POST', headers: { ...headers, 'upload-length': String(content.byteLength) } })
    const path = begun.headers.get('location') ?? ''
    let offset = 0
    for (const [i, piece] of pieces.entries()) {
      expect((await get(i % 2, `/${bucketName}/in-pieces`, authorized())).status).toBe(404)
      const sent = await fetch(urlOf(i % 2, path), { method: 'PATCH', headers: { ...headers, 'content-type': 'application/offset+octet-stream', 'upload-offset': String(offset) }, body: Buffer.from(piece) })
      expect(sent.status).toBe(204)
      offset += piece.byteLength
      const told = await fetch(urlOf(1 - i % 2, path), { method: 'HEAD', headers })
      expect(told.headers.get('upload-offset')).toBe(String(offset))
    }
    expect(digestOfBytes(await bytesOf(await get(1, `/${bucketName}/in-pieces`, authorized())))).toBe(digestOfBytes(content))
  })

  test.skipIf(!hasChromium('tus-js-client is not run in a browser'))('take an upload in pieces by tus-js-client in a browser, from a page of another origin that the bucket lets in, and go on with it at the other', async () => {
    await using page = await servedPage(() => `
      await new Promise((resolve, reject) => { document.head.append(Object.assign(document.createElement('script'), { src: '/node_modules/tus-js-client/dist/tus.js', onload: resolve, onerror: reject })) })
      const { Upload } = window.tus
      const content = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7)
      const uploaded = (options) => new Promise((resolve) => {
        const upload = new Upload(new Blob([content]), { endpoint: '${urlOf(0, `/${bucketName}/by-page/`)}', headers: ${JSON.stringify(authorized())}, chunkSize: 100_000, retryDelays: [100, 200], metadata: { filename: 'film.bin', filetype: 'video/mp4' }, ...options, onSuccess: () => resolve(upload), onError: (error) => resolve(String(error)) })
        upload.start()
      })
      let sent = 0
      const first = await uploaded({ onProgress: (bytes) => { sent = bytes } })
      told.push(sent, new URL(first.url ?? 'x:' + first).origin)
      // half of it, and the rest at the other node
      const half = await new Promise((resolve) => {
        const upload = new Upload(new Blob([content]), { endpoint: '${urlOf(0, `/${bucketName}/by-page/`)}', headers: ${JSON.stringify(authorized())}, chunkSize: 100_000, metadata: { filename: 'halved.bin' }, onChunkComplete: () => { upload.abort(); resolve(upload) }, onError: (error) => resolve({ url: String(error) }) })
        upload.start()
      })
      const rest = await uploaded({ uploadUrl: half.url.replace('${node(0).ready?.endpoints.http ?? ''}', '${node(1).ready?.endpoints.http ?? ''}') })
      told.push(typeof rest === 'string' ? rest : 'the rest')
      told.push(await uploaded({ endpoint: '${urlOf(1, `/${bucketName}/by-page/`)}', headers: { Authorization: 'Bearer nobody:x' }, retryDelays: null }).then((failed) => typeof failed === 'string'))
    `)
    const rules = join(real.folder, 'cors.json')
    await writeFile(rules, JSON.stringify([{ allowedOrigins: [page.origin], allowedMethods: ['GET', 'PUT'], allowedHeaders: ['*'] }]))
    // a page of an origin that is not let in gets nothing through
    expect((await page.visited())[1]).not.toBe(new URL(urlOf(0, '/')).origin)
    await node(0).json(['bucket', 'cors', bucketName, rules])
    await expect.poll(async () => (await fetch(urlOf(1, `/${bucketName}/x`), { method: 'OPTIONS', headers: { origin: page.origin, 'access-control-request-method': 'PUT' } })).headers.get('access-control-allow-origin'), { timeout: 10_000 }).toBe(page.origin)
    expect(await page.visited()).toEqual([300_000, new URL(urlOf(0, '/')).origin, 'the rest', true])
    const whole = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7)
    for (const [index, name] of [[1, 'film.bin'], [0, 'halved.bin']] as const) {
      const answer = await get(index, `/${bucketName}/by-page/${name}`, authorized())
      expect([name, digestOfBytes(await bytesOf(answer))]).toEqual([name, digestOfBytes(whole)])
      if (name === 'film.bin') expect(answer.headers.get('content-type')).toBe('video/mp4')
    }
  }, 90_000)

  test('share an object by a link that works at any node, until it is revoked at another', async () => {
    const [{ id, url }] = await node(0).json<Share & { url: string }>(['share', `${bucketName}/a/film`, '--expires', '1h']) as [Share & { url: string }]
    const [link = '', secret = ''] = url.split('#')
    expect(link).toBe(urlOf(0, `/s/${id}`))
    const [digest] = await Promise.all([1, 0].map(async (index) => digestOfBytes(await bytesOf(await get(index, `/s/${id}`, { 'x-dfs-share': secret })))))
    expect(digest).toBe(digestOfBytes(content))
    await node(0).json(['share', 'revoke', url])
    expect((await get(1, `/s/${id}`, { 'x-dfs-share': secret })).status).toBe(404)
    expect(node(0).log + node(1).log).not.toContain(secret)
  })

  test('give a link for one download to exactly one of those who try at both nodes at once', async () => {
    for (let round = 0; round < 5; round++) {
      const [{ id, secret }] = await node(round % 2).json<Share & { secret: string }>(['share', `${bucketName}/a/film`, '--once']) as [Share & { secret: string }]
      const statuses = await Promise.all([0, 1, 0, 1, 0, 1].map(async (index) => {
        const answer = await get(index, `/s/${id}`, { 'x-dfs-share': secret })
        await answer.arrayBuffer()
        return answer.status
      }))
      // of a race for the row somebody may be told that it is undecided, even who has won; never do two win
      const won = statuses.filter((status) => status === 200).length
      expect(won, String(statuses)).toBe(statuses.includes(504) ? Math.min(won, 1) : 1)
      expect(statuses.filter((status) => ![200, 410, 503, 504].includes(status))).toEqual([])
    }
  })

  test('have a password asked for', async () => {
    const { stdout } = await run(dfsPath, ['share', `${bucketName}/a/film`, '--password', '--json', '--data', node(1).data], { env: { ...process.env, DFS_SHARE_PASSWORD: 'open sesame' } })
    const { id, secret, hasPassword } = JSON.parse(stdout) as Share & { secret: string }
    expect(hasPassword).toBe(true)
    const form = (password: string): Promise<Response> => fetch(urlOf(0, `/s/${id}`), { method: 'POST', body: new URLSearchParams({ secret, password }) })
    expect((await form('wrong')).status).toBe(403)
    expect((await bytesOf(await form('open sesame'))).byteLength).toBe(content.byteLength)
  })

  test.skipIf(!hasPlayer)('a player seeks in a video: it asks for parts, and reads the last frame without reading it all', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'film.mp4')
    // the index of its frames stands at the end
    await run('ffmpeg', ['-loglevel', 'error', '-f', 'lavfi', '-i', 'testsrc=duration=20:size=320x240:rate=25', '-c:v', 'mpeg4', '-q:v', '2', file])
    await (await real.via(living[0])).put('film.mp4', await readFile(file))
    const probe = async (...more: string[]): Promise<string> => (await run('ffprobe', ['-loglevel', 'error', '-headers', `Authorization: ${authorized().authorization}\r\n`, ...more, urlOf(1, `/${bucketName}/film.mp4`)])).stdout
    expect(Number(await probe('-show_entries', 'format=duration', '-of', 'csv=p=0'))).toBe(20)
    expect((await probe('-read_intervals', '19%+#1', '-show_entries', 'packet=pts_time', '-select_streams', 'v', '-of', 'csv=p=0')).trim()).toMatch(/^1[89]\./)
  })
})
