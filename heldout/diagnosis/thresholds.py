"""Every number that the diagnosis decides by: what it bounds, in which unit, why, and what set it.

`first` means before there was a collection of trainings; `draw 1`, `draws 1-3` name the draws of the collection
(docs/explanation/diagnosis-measured.md) that were known when a value was chosen, before the next draw was scored.
"""

# --- curves: how many epochs -------------------------------------------------------------------------

# Epochs with a figure. Fewer do not show where a curve turns. (first)
MIN_EPOCHS = 4
# Third differences. Fewer cannot tell how much of two curves' noise is shared. (draw 1)
MIN_SHARED_DIFFERENCES = 4
# Epochs. Before, training images may be unknown because training was short, not because the network is too small.
# (draws 1-3)
MIN_EPOCHS_TO_SETTLE = 8

# Epochs. A network that has learned next to nothing by then needs no more of them. (zoo, open sets)
MIN_EPOCHS_TO_LEARN = 12

# --- curves: how far beyond noise --------------------------------------------------------------------

# Standard deviation of a normal distribution, in units of its median absolute deviation. (mathematics)
NORMAL_DEVIATION_PER_MEDIAN = 1.4826
# Standard deviations of one epoch's noise. Smaller rises of the last level may be noise. (draws 1-2)
MIN_RISE_SIGMAS = 3.0
# Standard deviations of the difference of two means of many epochs. Smaller rises of the mean may be noise. (draws 1-3)
MIN_MEAN_RISE_SIGMAS = 2.5
# Standard deviations of one epoch's noise. A fall is less often noise than a rise, so that less is enough. (draws 1-3)
MIN_FALL_SIGMAS = 2.0
# Standard deviations of Kendall's statistic, from which the order of the epochs alone shows a rise. (draw 1)
MIN_ORDER_SIGMAS = 2.0
# The same where the last level is above the lowest one by more than one standard deviation of noise. (draws 1-5)
MIN_ORDER_SIGMAS_BESIDE_RISE = 1.2

# --- curves: how much matters ------------------------------------------------------------------------

# Share of what is left of a loss. A smaller rise costs nothing that matters. (draws 1-3)
MIN_RISE = 0.025
# Share of the scale of a loss. A smaller fall in the last third of the epochs promises nothing that matters. (draw 1)
MIN_FALL = 0.15
# Share of a loss' descent. Where less than that is left of a loss, a rise is compared with this. (draws 1-6)
MIN_LOSS_LEFT = 0.01
# Share of the training loss in the best epoch. If it fell by less since then, nothing was learned. (draws 1-4)
MIN_TRAINING_FALL = 0.01
# Share of the lowest validation loss. A larger rise is critical. (first)
MAX_RISE_OF_WARNING = 0.1
# Share of the validation loss' descent. A larger rise is critical, too. (first)
MAX_LOST_DESCENT_OF_WARNING = 0.25

# Share of a loss. A loss that ends less than this above its best is told, and is no fault. (draws 1-7)
MAX_MILD_RISE = 0.04
# Nats, a little more than guessing among a thousand classes costs. A higher loss holds an offset, such as penalties, or
# has another unit. (mathematics)
MAX_CROSS_ENTROPY = 7.0

# --- curves: accuracy beside the loss ----------------------------------------------------------------

# Standard errors of a change of accuracy, beyond which it is no chance. (mathematics)
MIN_ACCURACY_SIGMAS = 2.0
# Accuracy. A fall by less does not matter: accuracy has held. (draws 1-7)
MAX_ACCURACY_FALL = 0.01
# Accuracy. Where a fall by more than this cannot be excluded, accuracy is not said to have held. (draws 1-7)
MAX_POSSIBLE_ACCURACY_FALL = 0.03
# Accuracy. Weights that answer more than this share of images better are better by what matters. (half a point)
MIN_ACCURACY_COST = 0.005

# --- curves: what is said of their end ---------------------------------------------------------------


# --- diverged ----------------------------------------------------------------------------------------

# Times the loss of guessing. A training loss that ends above has run away. (draw 1)
MAX_LOSS_OVER_GUESSING = 1.1
# Share of the first training loss. A network that came down by less has learned nothing that it could lose.
# (draws 1-6)
MIN_DESCENT_TO_LOSE = 0.1
# Share of its descent by which the training loss has gone up again. Then what was learned is lost. (draws 1-4)
MIN_LOST_DESCENT = 0.5

# --- underfitting and not converged ------------------------------------------------------------------

# Share of the loss of guessing. A training loss above it shows that next to nothing was learned. (zoo, open sets)
MIN_LOSS_OF_GUESSING = 0.97
# Skill (0 guesses, 1 knows all) on images. Below, they are not known. (draw 1)
MIN_KNOWN_SKILL = 0.7
# Skill on training images of a measured gap, below which training is at fault first, however few others are known.
# (zoo, open sets)
MIN_SKILL_ON_TRAINING = 0.5
# Skill by the probability of the labels, which a loss alone tells. Below, images may not be known: a network of ten
# classes with a loss of 0.9 answers some 70% rightly, which is just known. (first)
MIN_SKILL_BY_LOSS = 0.35
# Accuracy by which training images are surely known better than validation's: then the network is large enough.
# (draws 1-4)
MIN_BETTER_ON_TRAINING = 0.05

# Accuracy on training images that is still missing, from which a falling loss says that more epochs help, whatever the
# gap. (zoo, open sets, and draws 1-8)
MIN_MUCH_TO_LEARN = 0.2
# Accuracy by which training images are answered better than validation's, from which that is a fault. (draws 1-7)
MIN_LARGE_GAP = 0.1
# The same, below which validation's images are as well known as training's. (draws 1-7)
MAX_SMALL_GAP = 0.02

# --- labels ------------------------------------------------------------------------------------------

# Skill on training images, from which they are known by heart. (first)
MIN_MEMORISED_SKILL = 0.6
# Skill that validation may have at most where nothing holds for it. (draws 1-4)
MAX_CHANCE_SKILL = 0.25
# Skill beyond guesses, surely, from which something holds for new images. Labels by lot can agree with a few images by
# chance. (zoo, open sets, and draws 1-8)
MIN_HELD_SKILL = 0.03
# Training images for each class. Of fewer, too little can be learned to tell wrong labels from a hard problem.
# (zoo, open sets)
MIN_IMAGES_OF_NOISE = 10
# Skill on training images, from which an epoch says something of labels. Before, a network that always names one class
# is right as often as that class is there. (draws 1-4)
MIN_COMPARED_SKILL = 0.3

# --- classes -----------------------------------------------------------------------------------------

# Training images of a class, for each image of the largest class. A rarer class is neglected. (draws 1-4)
MIN_CLASS_BALANCE = 0.1
# Recall of a class. Below, the network does not know it. (draws 1-4)
MIN_RECALL = 0.2
# Median recall of all classes. Where it is lower, no single class is the problem. (first)
MIN_USUAL_RECALL = 0.6
# Images of a class in a split. Of fewer no recall is told. (first)
MIN_CLASS_IMAGES = 8
# Probability of a false alarm, which the classes of a split share. (draws 1-4)
MAX_FALSE_ALARMS = 0.05

# --- splits ------------------------------------------------------------------------------------------

# Confidence of intervals that every diagnosis looks at: at 0.95 one alarm in twenty would be false. (draw 1)
COMPARISON_CONFIDENCE = 0.99
# Accuracy by which validation may be better than test, since choices were made by it. (first)
MAX_SELECTION_EFFECT = 0.02
# Accuracy by which validation is better than test where test is surely another kind of data. (first)
MIN_CRITICAL_SHIFT = 0.08
# The same of one of the usual renamings: there are few of them, so that chance has less choice. (zoo, open sets)
MIN_EXPLAINED_BY_USUAL = 0.5
# Share of the images by which class frequencies differ from training's, from which on they can show a renaming. By as
# much more they speak against one. (zoo, open sets)
MIN_DISTANCE_OF_CLASSES = 0.12
# Share of that distance that a renaming may leave. (zoo, open sets)
MAX_DISTANCE_OF_RENAMED = 0.35
# Answers that are added to each class, as all images are answered, before the answers of two splits are compared.
# (zoo, open sets)
PRIOR_ANSWERS = 4.0
# Share of the labels from which on a renaming is of all of them. (zoo, open sets)
MIN_WHOLE_SHARE = 0.9
# Of a renaming of a part: what it must explain of how the answers differ, of what is missing beside the other split,
# and in which share of the classes it must be seen. (zoo, open sets)
MIN_EXPLAINED_BY_PART = 0.25
MIN_MISSING_OF_PART = 0.4
MIN_CLASSES_OF_PART = 0.5
# Classes. Of two, every mistake is what the other order says. (mathematics)
FEWEST_CLASSES_OF_PART = 3
# Skill on the other split, below which its answers say little of classes. (zoo, open sets)
MIN_SKILL_OF_PART = 0.2
# Share of what pixels differ by that the audit's split explains. Smaller shifts are found where sources differ by
# nature. (zoo, open sets)
MIN_SHIFT_OF_IMAGES = 0.05
# Share of the missing test accuracy that renaming the classes must bring back. (draws 1-6)
MIN_EXPLAINED_BY_RENAMING = 0.8
# Accuracy, half of its interval's width: a test is large enough if it is known this well. (first)
MAX_TEST_UNCERTAINTY = 0.02
# The same, above which a test is too small for a warning. (first)
MAX_TEST_UNCERTAINTY_OF_INFO = 0.04
# Digits of the number at the end of a class's name. (longer ones are no numbers of classes)
MAX_DIGITS = 9
# Share of validation images from which copies of training images are critical. (the audit's own bound)
MIN_CRITICAL_LEAK = 0.01

# --- the gap, term by term ---------------------------------------------------------------------------

# Of the intervals of a gap's terms. (convention)
TERM_CONFIDENCE = 0.95
# Images of real sets come in families that are answered alike, such as the letters of one font. So many of them tell as
# much as one independent image, where different images are compared. (the zoo: then intervals hold in 95%)
IMAGES_OF_FAMILY = 3.0
# Probability of a false alarm, which all epochs share that are compared with the best one. (the contract)
MAX_FALSE_ALARMS_OF_EPOCHS = 0.05
# Accuracy. A finding that surely explains less is an info. (the contract)
MIN_EXPLAINED = 0.005
# Share of the test loss. A finding that surely explains less of the loss, too, is an info. (as a mild rise of a curve)
MIN_EXPLAINED_OF_LOSS = 0.04
# Accuracy. An effect that is surely smaller never comes before one that is larger. (the contract)
MIN_SURE_EFFECT = 0.01
# Accuracy. An effect of this size matters even if only the weaker interval excludes zero. (the contract)
MIN_LIKELY_EFFECT = 0.03
# Accuracy. Half an interval that is shorter counts as this long. (no larger test is known better)
LEAST_HALF_INTERVAL = 0.001
# Confidence of that weaker interval: its lower bound holds in 80%. (the contract)
LIKELY_CONFIDENCE = 0.6
# Share of a split's images. With more copies its figure is not what it seems, whatever they are measured to do. (the
# contract)
MIN_COPIED_SHARE = 0.05
# Accuracy. A gap that is surely larger always belongs to a finding. (the contract)
MIN_SURE_GAP = 0.03
# Accuracy on training images that is still missing, from which more training comes first. (zoo, open sets)
MIN_LEFT_TO_LEARN = 0.03
# Share of what validation lacks beside training that must be lacking in some classes, before these explain it.
# (zoo, open sets)
MIN_PART_OF_CLASSES = 0.4
# Share of the same that wrong training labels must make up, before they explain it. (zoo, open sets)
MIN_PART_OF_NOISE = 0.25

# --- figures that contradict each other --------------------------------------------------------------

# Accuracy by which `fit` shows training worse than it is, measured with the same weights. (first)
MIN_FIT_ARTEFACT = 0.05
# Accuracy by which `fit` shows training below validation. (first)
MIN_FIT_BELOW_VALIDATION = 0.025
# Fall of the validation accuracy that contradicts a validation loss which does not rise. (draws 1-4)
MIN_CONTRADICTION = 0.1

# --- the live guard ----------------------------------------------------------------------------------

# Epochs after the best one before a training is stopped. (draws 1-5)
GUARD_PATIENCE_EPOCHS = 6
# Share of the loss by which its level must be above its lowest: few trainings come back from there. (draws 1-5)
GUARD_MIN_RISE = 0.05

# --- words ---------------------------------------------------------------------------------------------

# Probability that a verdict is right, from which it is sure, and likely. (the contract; first)
MIN_SURE = 0.9
MIN_LIKELY = 0.7

# --- confidence --------------------------------------------------------------------------------------

# Of a ratio whose logarithm is a figure: smaller ones say no more, nor do larger ones than its inverse. (draws 1-7)
SMALLEST_RATIO = 0.001

# --- histories ---------------------------------------------------------------------------------------

# A larger figure counts as not finite, so that sums of squares stay finite. (mathematics)
MAX_FIGURE = 1e100

# --- suspected labels --------------------------------------------------------------------------------

# Share of a split's labels that a search must surely find to be wrong: fewer hardly change a figure. (chosen)
MIN_WRONG_SHARE = 0.03
# Share of the training images answered wrongly that wrong labels must surely explain to be the reason. (chosen)
MIN_PART_OF_TRAINING = 0.5
