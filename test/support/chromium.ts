import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { temporaryFolder } from './temporary.ts'

const top = join(import.meta.dirname, '..', '..')
const chromium = '/usr/bin/chromium'

/** Whether there is a browser; that there is none is said aloud, with what it keeps from being tried. */
export function hasChromium (why: string): boolean {
  try { accessSync(chromium); return true } catch {
    console.warn(`SKIPPED: ${why}, for ${chromium} is missing; scripts/clients-browser.sh installs it`)
    return false
  }
}

export interface Page extends AsyncDisposable {
  readonly origin: string
  /** Runs the script in a new browser, and gives what it told. */
  visited (): Promise<unknown[]>
}

/**
 * A page of an origin of its own whose module script is `script`; what that pushes to `told` is what a visit gives. It may import the sources (`/client/browser.ts`), whose types
 * are taken away as Node.js does it, and `packages`, by their names, as they lie in node_modules.
 */
export async function servedPage (script: () => string, packages: readonly string[] = []): Promise<Page> {
  let tell = (_told: unknown[]): void => {}
  const imports = Object.fromEntries(packages.flatMap((name) => importsOf(name)))
  const server = createServer((request, response) => {
    const { url = '/' } = request
    const javascript = (text: string): void => { response.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8' }).end(text) }
    if (url === '/told') {
      request.setEncoding('utf8').toArray().then((pieces: string[]) => { response.end(); tell(JSON.parse(pieces.join('')) as unknown[]) }, () => { response.destroy() })
    } else if (url === '/') {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module">
        const told = []
        try { ${script()} } catch (error) { told.push(String(error.stack)) }
        await fetch('/told', { method: 'POST', body: JSON.stringify(told) })
      </script>`)
    } else if (url.endsWith('.ts')) javascript(stripTypeScriptTypes(readFileSync(join(top, 'src', normalize(url)), 'utf8')))
    else if (url.startsWith('/node_modules/')) javascript(readFileSync(join(top, normalize(url)), 'utf8'))
    else response.writeHead(404).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    async visited () {
      await using profile = await temporaryFolder()
      const { promise, resolve } = Promise.withResolvers<unknown[]>()
      tell = resolve
      const browser = spawn(chromium, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile.path}`, origin], { stdio: 'ignore', detached: true })
      try {
        return await promise
      } finally {
        process.kill(-browser.pid!, 'SIGKILL') // with its children, which write into the profile
        await once(browser, 'exit')
      }
    },
    async [Symbol.asyncDispose] () {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Where a package's modules lie for those that import it, by its own word. */
function importsOf (name: string): Array<[string, string]> {
  const { exports } = JSON.parse(readFileSync(join(top, 'node_modules', name, 'package.json'), 'utf8')) as { exports: Readonly<Record<string, string | { readonly import?: string | { readonly default: string } }>> }
  return Object.entries(exports).flatMap(([path, target]): Array<[string, string]> => {
    const module = typeof target === 'string' ? target : typeof target.import === 'string' ? target.import : target.import?.default
    return module === undefined || !module.endsWith('.js') ? [] : [[path === '.' ? name : `${name}/${path.slice(2)}`, `/node_modules/${name}/${module.slice(2)}`]]
  })
}
