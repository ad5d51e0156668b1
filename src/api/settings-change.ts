import { InvalidInput } from '../base/errors.ts'
import type { SettingsChange } from '../objects/index.ts'
import { S3Error } from './s3/errors.ts'
import { checkPolicy } from './s3/policy-check.ts'

/** A change of a bucket's settings that came as JSON; its policy is understood now, or refused, and not passed over later. The engine looks at the rest. @throws InvalidInput */
export function settingsChangeIn (bucket: string, change: Readonly<Record<string, unknown>>): SettingsChange {
  const { policy } = change
  try {
    if (typeof policy === 'string') checkPolicy(policy, bucket)
  } catch (cause) {
    throw cause instanceof S3Error ? new InvalidInput('policy', cause.message, { cause }) : cause
  }
  return change as SettingsChange
}
