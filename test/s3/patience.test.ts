import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { Conflict } from '../../src/base/errors.ts'
import type { S3Exchange } from '../../src/api/s3/exchange.ts'
import { patienceLimits, sendPatiently } from '../../src/api/s3/patience.ts'
import type { Objects } from '../../src/objects/index.ts'
import { askS3 } from '../support/s3-client.ts'
import { type S3Server, s3Server } from '../support/s3-server.ts'

let server: S3Server
/** What the engine waits for before it puts an upload together. */
let awaited: PromiseWithResolvers<void>
let failure: Error | undefined
/** What shall happen when the time of patience is up again. */
let beats: Array<() => void> = []
beforeAll(async () => {
  server = await s3Server({ face: { clock: { ...systemClock, after: (durationMs, action) => {
    if (durationMs !== patienceLimits.keepAliveMs) return systemClock.after(durationMs, action)
    beats.push(action)
    return () => { beats = beats.filter((other) => other !== action) }
  } } } })
  const { uploads } = server.objects
  const complete: Objects['uploads']['complete'] = uploads.complete.bind(uploads)
  Object.assign(uploads, { complete: async (...args: Parameters<typeof complete>) => {
    await awaited.promise
    if (failure !== undefined) throw failure
    return complete(...args)
  } })
})
afterAll(async () => { await server[Symbol.asyncDispose]() })

const texts = (xml: string, name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? ''

async function begun (): Promise<{ id: string, body: string }> {
  const id = texts((await askS3(server.port, 'POST', '/photos/slow?uploads', { key: server.key })).body, 'UploadId')
  const { headers: { etag = '' } } = await askS3(server.port, 'PUT', `/photos/slow?partNumber=1&uploadId=${id}`, { key: server.key, body: 'x' })
  return { id, body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>` }
}

describe('an answer that takes long', () => {
  test.each([['the result', undefined, 'CompleteMultipartUploadResult'], ['an error', new Conflict('it was replaced'), 'PreconditionFailed']])('begins before it is there, and ends with %s', async (_name, error, expected) => {
    awaited = Promise.withResolvers()
    failure = error
    const { id, body } = await begun()
    const answer = askS3(server.port, 'POST', `/photos/slow?uploadId=${id}`, { key: server.key, body, headers: { 'if-none-match': '"other"' } })
    for (let i = 0; i < 3; i++) {
      await expect.poll(() => beats.length).toBe(1)
      beats.shift()?.()
    }
    awaited.resolve()
    const { status, body: text } = await answer
    expect(status).toBe(200)
    expect(text).toMatch(new RegExp(`^<\\?xml[^>]*>\\n  <(\\w+)[^]*`))
    expect(text).toContain(expected)
  })

  test('is not begun again where the node has answered already, for it stops (what that throws nobody hears)', async () => {
    const [answering, acts] = [Promise.withResolvers<{ xml: string, headers: object }>(), [] as Array<() => void>]
    const answers: string[] = []
    const response = { headersSent: true, destroyed: false, writableEnded: true, writeHead: () => { throw new Error('headers were sent') }, write: () => { answers.push('written') } }
    const exchange = { response, clock: { after: (_: number, act: () => void) => { acts.push(act); return () => {} } } } as unknown as S3Exchange
    const sent = sendPatiently(exchange, { isConditional: false, answer: async () => answering.promise as Promise<never> })
    expect(() => { acts[0]?.() }).not.toThrow()
    answering.reject(new Error('the node stops'))
    await expect(sent).rejects.toThrow('the node stops')
    expect([answers, acts.length]).toEqual([[], 1])
  })

  test('one that comes at once has its status', async () => {
    awaited = Promise.withResolvers()
    awaited.resolve()
    failure = new Conflict('it was replaced')
    const { id, body } = await begun()
    expect(await askS3(server.port, 'POST', `/photos/slow?uploadId=${id}`, { key: server.key, body, headers: { 'if-none-match': '"other"' } })).toMatchObject({ status: 412, code: 'PreconditionFailed' })
    expect(beats).toEqual([])
  })
})
