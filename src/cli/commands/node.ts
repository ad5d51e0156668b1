import { optionNames, type ConfigField } from '../../config.ts'
import { withNode } from '../context.ts'
import { outputOf, sizeText, table } from '../output.ts'
import { type GivenOptions, settingsOf } from '../settings.ts'

/** `dfs stop`: asks the node to end; it finishes what it has acknowledged. */
export async function stop (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('POST', '/v1/stop', { signal })
    output.fact({ stopping: true }, 'stopping')
  })
}

/** `dfs cache clear` */
export async function clearCache (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { freedBytes } = await client.json<{ freedBytes: number }>('DELETE', '/v1/cache', { signal })
    output.fact({ freedBytes }, `forgot ${sizeText(freedBytes)}`)
  })
}

/** `dfs config`: what a start with these options, this environment and this file would do. */
export async function config (options: GivenOptions): Promise<void> {
  const { config: values, origins } = await settingsOf(options)
  const fields = Object.keys(optionNames) as ConfigField[]
  const rows = fields.map((field) => ({ name: optionNames[field], value: values[field] ?? null, origin: origins[field] }))
  outputOf(options).fact(
    Object.fromEntries(rows.map(({ name, value, origin }) => [name, { value, origin }])),
    table(rows.map(({ name, value, origin }) => [name, Array.isArray(value) ? value.join(',') || '-' : String(value ?? '-'), origin])))
}
