import { InvalidInput } from '../../base/errors.ts'
import type { SettingsChange } from './bucket-settings.ts'

/** What a value must look like: a type, one of some words, a list of one kind, or fields, of which those whose name ends in "?" may be left out. */
type Shape = 'string' | 'number' | 'true' | 'boolean' | 'pair' | readonly string[] | { readonly listOf: Shape } | { readonly fields: Readonly<Record<string, Shape>> }

const retention: Shape = { fields: { mode: ['governance', 'compliance'], 'days?': 'number', 'years?': 'number' } }
const strings: Shape = { listOf: 'string' }
const pairs: Shape = { listOf: 'pair' }

const shapes: Readonly<Record<keyof SettingsChange, Shape>> = {
  versioning: ['enabled', 'suspended'],
  ack: ['all'],
  objectLock: { fields: { 'defaultRetention?': retention } },
  lifecycle: { listOf: { fields: {
    id: 'string', isEnabled: 'boolean', prefix: 'string', 'tags?': pairs, 'minSizeBytes?': 'number', 'maxSizeBytes?': 'number', 'expireDays?': 'number', 'expireDate?': 'string',
    'expireDeleteMarkers?': 'true', 'noncurrentDays?': 'number', 'noncurrentKept?': 'number', 'abortUploadsDays?': 'number',
  } } },
  cors: { listOf: { fields: { 'id?': 'string', allowedOrigins: strings, allowedMethods: { listOf: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'] }, 'allowedHeaders?': strings, 'exposeHeaders?': strings, 'maxAgeSeconds?': 'number' } } },
  website: { fields: { 'index?': 'string', 'error?': 'string', 'redirectAllTo?': { fields: { host: 'string', 'protocol?': ['http', 'https'] } } } },
  policy: 'string',
  publicRead: 'true',
  quotaBytes: 'number',
  quotaObjects: 'number',
  tags: pairs,
}

/** That settings which came as JSON are what they are said to be: nothing misspelt is passed over, for it may be a lock. @throws InvalidInput naming the setting and what it takes */
export function checkShape (change: SettingsChange): void {
  for (const [name, value] of Object.entries(change)) {
    if (value !== null && value !== undefined) demand(shapes[name as keyof SettingsChange], value, { setting: name, at: name })
  }
}

interface Place { readonly setting: string, readonly at: string }

function demand (shape: Shape, value: unknown, place: Place): void {
  const wrong = (takes: string): InvalidInput => new InvalidInput(place.setting, `${place.at} takes ${takes}, not ${(JSON.stringify(value) ?? String(value)).slice(0, 80)}`)
  if (shape === 'pair') {
    if (!(Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === 'string'))) throw wrong('a name and a value, as ["name", "value"]')
  } else if (shape === 'true') {
    if (value !== true) throw wrong('true, or is left out')
  } else if (typeof shape === 'string') {
    if (typeof value !== shape) throw wrong(`a ${shape}`)
  } else if (Array.isArray(shape)) {
    if (!shape.includes(value as string)) throw wrong(shape.join(', '))
  } else if ('listOf' in shape) {
    if (!Array.isArray(value)) throw wrong('a list')
    for (const [i, each] of value.entries()) demand(shape.listOf, each, { ...place, at: `${place.at}[${i}]` })
  } else if ('fields' in shape) demandFields(shape.fields, value, place, wrong)
}

function demandFields (fields: Readonly<Record<string, Shape>>, value: unknown, place: Place, wrong: (takes: string) => InvalidInput): void {
  const names = Object.keys(fields).map((name) => name.replace('?', ''))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`an object with ${names.join(', ')}`)
  const unknown = Object.keys(value).find((name) => !names.includes(name))
  if (unknown !== undefined) throw new InvalidInput(place.setting, `${place.at} has no "${unknown.slice(0, 40)}"; it has ${names.join(', ')}`)
  for (const [name, shape] of Object.entries(fields)) {
    const each = (value as Readonly<Record<string, unknown>>)[name.replace('?', '')]
    if (each !== undefined) demand(shape, each, { ...place, at: `${place.at}.${name.replace('?', '')}` })
    else if (!name.endsWith('?')) throw new InvalidInput(place.setting, `${place.at} needs ${name}`)
  }
}
