/** Fits a network to the size of a dataset's images if necessary, and reports what it has changed. Pure. */

type Block = { kernel_size?: number; padding?: string; repeat?: number; pool?: number; strides?: number } & Record<
  string,
  unknown
>
type Network = { blocks?: Block[] } & Record<string, unknown>

/** shape: height, width and channels. */
export type Shape = readonly number[]
/** said: what was changed, as one sentence; empty where the network fitted as it was. */
export type Fitted<Spec> = { spec: Spec; said: string }

/** Whether a network is an uploaded Keras model, which no form changes, and not blocks. */
export const isOwn = (network: unknown) => typeof network === 'object' && network !== null && 'model' in network

const DEFAULT_KERNEL = 3
const DEFAULT_POOL = 2

/**
 * The spec with a network that images of this shape fit through.
 *
 * First the convolutions get `padding: same`, which does not change the number of their parameters. Then pools that would
 * shrink an image below one pixel are left out. A network that fits is not changed.
 */
export function fitted<Spec extends Record<string, unknown>>(spec: Spec, shape: Shape): Fitted<Spec> {
  const network = spec.network as Network | undefined
  const blocks = network?.blocks
  // A backbone decides what the blocks get, and unfinished typing is not judged.
  if (!network || network.backbone || !Array.isArray(blocks) || failsAt(blocks, shape) === -1) return { spec, said: '' }
  const padded = blocks.map((block) => ({ ...block, padding: 'same' }))
  const unpooled: number[] = []
  for (let place = failsAt(padded, shape); place !== -1; place = failsAt(padded, shape)) {
    padded[place]!.pool = 1
    unpooled.push(place + 1)
  }
  const pools = unpooled.length ? `, and ${listed(unpooled)} ${unpooled.length > 1 ? 'have' : 'has'} no pooling` : ''
  const said =
    `Images of ${shape[0]} × ${shape[1]} pixels are too small for this network as it was: its ${blocks.length} blocks would shrink ` +
    `them to nothing. So its convolutions now keep the size (padding: same)${pools}.`
  return { spec: { ...spec, network: { ...network, blocks: padded } }, said }
}

/** The place of the first block that would shrink an image below one pixel; -1 if there is none. */
function failsAt(blocks: Block[], shape: Shape): number {
  let least = Math.min(shape[0]!, shape[1]!)
  for (const [place, block] of blocks.entries()) {
    const { kernel_size = DEFAULT_KERNEL, padding = 'valid', repeat = 1, pool = DEFAULT_POOL, strides = 1 } = block
    const cut = padding === 'valid' ? kernel_size - 1 : 0
    // The first convolution has the strides; the others cut off edges of what these left.
    least = Math.ceil((least - cut) / strides) - (repeat - 1) * cut
    if (least < 1) return place
    least = Math.floor(least / pool)
    if (least < 1) return place
  }
  return -1
}

/** "block 2", "blocks 2 and 3". */
const listed = (places: number[]) =>
  places.length > 1 ? `blocks ${places.slice(0, -1).join(', ')} and ${places.at(-1)}` : `block ${places[0]}`
