"""Every number on which a proof bases a decision."""

# Accuracy. A smaller effect is not worth a change. (as `diagnosis.thresholds.MIN_SURE_EFFECT`)
MIN_EFFECT = 0.01
# Accuracy. If a larger effect cannot be ruled out, the experiment leaves the question open.
MAX_POSSIBLE_EFFECT = 0.025
# Accuracy, a standard deviation between seeds: two trainings of one spec differ by about 2 points in 19 of 20 cases.
SEED_DEVIATION = 0.007
# Accuracy. A smaller effect of one pair of trainings may be the luck of their seeds, so a second pair must agree.
MIN_EFFECT_OF_ONE_SEED = 0.02
# Probability. All experiments of a proof together prove something false at most this often.
FALSE_PROOFS = 0.05
# How many effects a proof looks at, at most: its share of `FALSE_PROOFS` belongs to each.
MAX_LOOKS = 28
# Probability of each side that an effect lies beyond what is refuted.
FALSE_REFUTATION = 0.05
# Share of the validation loss. A larger fall shows that something was learned, even if accuracy held.
MIN_LOSS_FALL = 0.02

# Images to memorize, and the share of them that a network that learns gets right.
MEMORIZED_IMAGES = 64
MIN_MEMORIZED = 0.9
# Gradient steps after which a network that learns has memorized them.
STEPS_TO_MEMORIZE = 200

# How much longer "longer" is.
LONGER = 1.5
# A backward pass costs as much as two forward passes.
TRAINING_WORK = 3.0
# Twice the filters of a layer take four times the work.
WORK_OF_LARGER = 4.0
# Units of the job's own training. Starting a process costs at least this.
MIN_WORK = 0.05

# Accuracy on training minus validation images, from which on training images count as memorized.
MIN_MEMORIZED_GAP = 0.05
# Positions in the spec of one experiment. More images are not left out.
MAX_LEFT_OUT = 20_000
