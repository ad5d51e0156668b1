import { existsSync } from 'node:fs'
import { InvalidInput, Refused } from '../../base/errors.ts'
import { NoRunningNode } from '../../client/errors.ts'
import type { LocalClient } from '../../client/index.ts'
import type { Config } from '../../config.ts'
import type { Finding, NodeStatus, PeerStatus, Secrets } from '../../node.ts'
import { interruptSignal } from '../interrupt.ts'
import { Degraded } from '../degraded.ts'
import { type Output, outputOf } from '../output.ts'
import { reach } from '../../network/reach.ts'
import { keyFileIn, secretsOf } from '../secrets.ts'
import { type GivenOptions, type Settings, settingsOf } from '../settings.ts'

/** `dfs doctor`: with the node running or not. @throws Degraded, with what is shown already, when there is an error or a warning */
export async function doctor (options: GivenOptions): Promise<void> {
  const output = outputOf(options)
  const { bySeverity } = await import('../../node.ts')
  const findings = bySeverity(await found(options))
  for (const finding of findings) output.fact(finding, textOf(finding))
  const [errors, warnings] = (['error', 'warning'] as const).map((severity) => findings.filter((finding) => finding.severity === severity).length) as [number, number]
  summary(output, { errors, warnings, notes: findings.length - errors - warnings })
  if (errors + warnings > 0) throw new Degraded(`${errors} errors and ${warnings} warnings; each says what to do`)
}

function summary (output: Output, { errors, warnings, notes }: { errors: number, warnings: number, notes: number }): void {
  output.fact({ errors, warnings, notes }, errors + warnings === 0 ? `nothing to do${notes === 0 ? '' : `; ${notes} notes`}` : `${errors} errors, ${warnings} warnings, ${notes} notes`)
}

const textOf = ({ severity, what, means, todo }: Finding): string => `${severity.toUpperCase().padEnd(7)}  ${what}\n         means: ${means}\n         do:    ${todo}`

async function found (options: GivenOptions): Promise<readonly Finding[]> {
  let settings: Settings
  try { settings = await settingsOf(options) } catch (error) {
    if (!(error instanceof InvalidInput)) throw error
    return [{ severity: 'error', code: 'config', what: error.message, means: 'the node does not start', todo: 'mend the setting; "dfs config" shows each with where it comes from' }]
  }
  const { config } = settings
  const { examineFolder } = await import('../../node.ts')
  const client = await running(config.data)
  const offline = await examineFolder({ config, secrets: await knownSecrets(config), isRunning: client !== undefined })
  if (client === undefined) return offline
  const signal = interruptSignal()
  try {
    const [{ findings }, status, { peers }] = await Promise.all([
      client.json<{ findings: Finding[] }>('GET', '/v1/doctor', { signal }), client.json<NodeStatus>('GET', '/v1/status', { signal }), client.json<{ peers: PeerStatus[] }>('GET', '/v1/peers', { signal }),
    ])
    // what both have seen is told once
    const codes = new Set(findings.map(({ code }) => code))
    const isInLayout = (peer: string): boolean => status.members.some(({ peerId, capacityBytes }) => peerId === peer && capacityBytes !== undefined)
    return [...offline.filter(({ code }) => !codes.has(code)), ...findings, ...await ports(status), ...await waysTo(peers.filter(({ peerId }) => isInLayout(peerId)))]
  } finally {
    client.close()
  }
}

async function running (data: string): Promise<LocalClient | undefined> {
  const { connectLocal } = await import('../../client/index.ts')
  try { return await connectLocal(data) } catch (error) {
    if (error instanceof NoRunningNode) return undefined
    throw error
  }
}

/** Nobody is asked: a doctor runs from timers too. */
async function knownSecrets (config: Config): Promise<Secrets | undefined> {
  const isKnown = config.keyFile !== undefined || config.passphraseFile !== undefined || process.env.DFS_PASSPHRASE !== undefined || existsSync(keyFileIn(config.data))
  if (!isKnown) return undefined
  try { return await secretsOf(config) } catch (error) {
    if (error instanceof InvalidInput || error instanceof Refused) return undefined
    throw error
  }
}

async function ports ({ addresses }: NodeStatus): Promise<readonly Finding[]> {
  const outcomes = await Promise.all(addresses.map(async (address) => ({ address, outcome: await reach(address) })))
  return outcomes.filter(({ outcome }) => outcome !== undefined && outcome !== 'open').map(({ address, outcome }) => (
    { severity: 'warning', code: 'port', what: `${address}, which peers are told, ${outcome} when it is tried from this machine`, means: 'peers may not reach this node; it reaches them', todo: 'open the port in the firewall; behind a port mapping set "announce" to the outer address (some routers do not answer from within)' }))
}

async function waysTo (peers: readonly PeerStatus[]): Promise<readonly Finding[]> {
  const away = peers.filter(({ isConnected, isMember, addresses }) => isMember && !isConnected && addresses.length > 0)
  return Promise.all(away.map(async ({ peerId, addresses }): Promise<Finding> => {
    const outcomes = await Promise.all(addresses.map(async (address) => `${address} ${await reach(address) ?? 'is no TCP address'}`))
    const isOpen = outcomes.some((outcome) => outcome.endsWith(' open'))
    return { severity: 'note', code: 'way-to-peer', what: `${peerId} is away: ${outcomes.join('; ')}`, means: isOpen ? 'something listens there, and is not admitted as that node' : 'its machine or process is down, or something between blocks it', todo: isOpen ? 'look at the logs of both nodes; is it another program, or a node that was removed?' : 'start it; look at firewalls' }
  }))
}
