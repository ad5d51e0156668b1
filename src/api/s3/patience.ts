import { s3ErrorOf } from './errors.ts'
import { type S3Exchange, sendXml } from './exchange.ts'
import { declaration, element, plainDocument } from './xml.ts'

export const patienceLimits = {
  /** A space is sent so often while an answer is awaited, so that nobody on the way gives the connection up. */
  keepAliveMs: 5000,
} as const

/**
 * Answers what may take long. When it does, the answer begins with 200 and spaces, and an error comes as a body of that 200, as clients know it from AWS
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html); headers are then no longer to be had.
 */
export async function sendPatiently (exchange: S3Exchange, { isConditional, answer }: { isConditional: boolean, answer: () => Promise<{ xml: string, headers: Readonly<Record<string, string>> }> }): Promise<void> {
  const { response } = exchange
  using waiting = keepingAlive(exchange)
  try {
    const { xml, headers } = await answer()
    if (waiting.end()) response.end(xml.slice(declaration.length))
    else sendXml(exchange, xml, headers)
  } catch (error) {
    if (!waiting.end() || response.destroyed) throw error
    const { code, message } = s3ErrorOf(error, { isConditional })
    exchange.note({ code })
    response.end(plainDocument('Error', [element('Code', code), element('Message', message), element('RequestId', exchange.id)]).slice(declaration.length))
  }
}

/** `end` says whether the answer has begun. */
function keepingAlive ({ response, clock }: S3Exchange): Disposable & { end (): boolean } {
  let cancel = (): void => {}
  let hasBegun = false
  const beat = (): void => {
    cancel = clock.after(patienceLimits.keepAliveMs, () => {
      // a node that stops has answered in its own way; nobody would hear what a second answer throws here
      if (response.destroyed || response.writableEnded || (response.headersSent && !hasBegun)) return
      if (!hasBegun) response.writeHead(200, { 'content-type': 'application/xml' })
      response.write(hasBegun ? ' ' : declaration)
      hasBegun = true
      beat()
    })
  }
  beat()
  return { end () { cancel(); return hasBegun }, [Symbol.dispose] () { cancel() } }
}
