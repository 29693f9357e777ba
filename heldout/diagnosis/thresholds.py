"""Every number on which the diagnosis bases a decision: its unit, what it bounds, why, and where it comes from.

`first` means before there was a collection of trainings. `draw 1` and `draws 1-3` name the draws of the collection that
were known when the value was chosen, before the next draw was scored (docs/measurements/diagnosis.md).
"""

# --- curves: how many epochs -------------------------------------------------------------------------

# Epochs with a figure. Fewer do not show where a curve turns. (first)
MIN_EPOCHS = 4
# Third differences. Fewer cannot tell how much of two curves' noise is shared. (draw 1)
MIN_SHARED_DIFFERENCES = 4
# Epochs. With fewer, training images may be unknown because training was short, not because the network is too small.
# (draws 1-3)
MIN_EPOCHS_TO_SETTLE = 8

# Epochs. A network that has learned next to nothing by then will not learn with more of them. (zoo, open sets)
MIN_EPOCHS_TO_LEARN = 12

# --- curves: how far beyond noise --------------------------------------------------------------------

# Standard deviation of a normal distribution, in units of its median absolute deviation. (mathematics)
NORMAL_DEVIATION_PER_MEDIAN = 1.4826
# Standard deviations of one epoch's noise. Smaller rises of the last level may be noise. (draws 1-2)
MIN_RISE_SIGMAS = 3.0
# Standard deviations of the difference of two means of many epochs. Smaller rises of the mean may be noise. (draws 1-3)
MIN_MEAN_RISE_SIGMAS = 2.5
# Standard deviations of one epoch's noise. A fall is noise less often than a rise, so less is enough. (draws 1-3)
MIN_FALL_SIGMAS = 2.0
# Standard deviations of Kendall's statistic. Beyond this, the order of the epochs alone shows a rise. (draw 1)
MIN_ORDER_SIGMAS = 2.0
# The same if the last level exceeds the lowest one by more than one standard deviation of noise. (draws 1-5)
MIN_ORDER_SIGMAS_BESIDE_RISE = 1.2

# --- curves: how much matters ------------------------------------------------------------------------

# Share of the loss that is left. A smaller rise does not matter. (draws 1-3)
MIN_RISE = 0.025
# Share of the scale of a loss. A smaller fall in the last third of the epochs promises too little to matter. (draw 1)
MIN_FALL = 0.15
# Share of a loss' descent. If less than this is left of a loss, a rise is compared with this instead. (draws 1-6)
MIN_LOSS_LEFT = 0.01
# Share of the training loss in the best epoch. If it fell by less since then, nothing was learned. (draws 1-4)
MIN_TRAINING_FALL = 0.01
# Share of the lowest validation loss. A larger rise is critical. (first)
MAX_RISE_OF_WARNING = 0.1
# Share of the validation loss' descent. A larger rise is critical, too. (first)
MAX_LOST_DESCENT_OF_WARNING = 0.25

# Share of a loss. A loss that ends less than this above its best is mentioned, but is not a fault. (draws 1-7)
MAX_MILD_RISE = 0.04
# Nats, slightly more than guessing among a thousand classes costs. A higher loss includes an offset, such as penalties,
# or has another unit. (mathematics)
MAX_CROSS_ENTROPY = 7.0

# --- curves: accuracy compared with the loss ---------------------------------------------------------

# Standard errors of a change of accuracy. A larger change is not chance. (mathematics)
MIN_ACCURACY_SIGMAS = 2.0
# Accuracy. After a smaller fall, accuracy counts as held. (draws 1-7)
MAX_ACCURACY_FALL = 0.01
# Accuracy. If a larger fall cannot be ruled out, accuracy does not count as held. (draws 1-7)
MAX_POSSIBLE_ACCURACY_FALL = 0.03
# Accuracy. Half a point: a larger difference between weights matters. (chosen)
MIN_ACCURACY_COST = 0.005

# Accuracy on training images during an epoch minus the same measured after it, the lower end of its interval. `fit`
# averages over an epoch in which weights still get better, so it is nearly always the lower one. (chosen)
MIN_LAG = 0.1

# --- diverged ----------------------------------------------------------------------------------------

# Multiple of the loss of guessing. A training loss that ends above this has diverged. (draw 1)
MAX_LOSS_OVER_GUESSING = 1.1
# The same. An epoch whose mean loss was higher has destroyed what was learned before it. (zoo, open sets)
MAX_PEAK_OVER_GUESSING = 10.0
# If a network only guesses after training at such a learning rate, the rate is the reason. Ten times Keras' default,
# and for SGD thirty times. (zoo, open sets, for Adam)
MIN_HIGH_RATE, MIN_HIGH_RATE_OF_SGD = 0.01, 0.3
# Share of the first training loss. A network whose loss fell by less has learned nothing that it could lose.
# (draws 1-6)
MIN_DESCENT_TO_LOSE = 0.1
# Share of the training loss' descent. If the loss rises again by more, what was learned is lost. (draws 1-4)
MIN_LOST_DESCENT = 0.5

# --- underfitting and not converged ------------------------------------------------------------------

# Share of the loss of guessing. A training loss above this shows that next to nothing was learned. (zoo, open sets)
MIN_LOSS_OF_GUESSING = 0.97
# Share of the answers to training images. From here on, they count as the same for every image. (zoo, open sets)
MIN_SHARE_OF_ONE_ANSWER = 0.98
# Skill (0 is guessing, 1 is perfect). Below this, images count as not known. (draw 1)
MIN_KNOWN_SKILL = 0.7
# Skill on training images, with a measured gap. Below this, training is the first fault, however poorly other images
# are known. (zoo, open sets)
MIN_SKILL_ON_TRAINING = 0.5
# Skill from the probability of the labels, if only the loss is known. Below this, images may not be known: with
# ten classes and a loss of 0.9, a network answers some 70% correctly, which just counts as known. (first)
MIN_SKILL_BY_LOSS = 0.35
# Accuracy. If training images are clearly known better than validation images by more, the network is large enough.
# (draws 1-4)
MIN_BETTER_ON_TRAINING = 0.05

# Accuracy missing on training images. From here on, a falling loss, or few epochs, mean that more epochs help, whatever
# the gap. (zoo, open sets, and draws 1-8)
MIN_MUCH_TO_LEARN = 0.2
# Accuracy on training minus validation images. From here on, the difference is a fault. (draws 1-7)
MIN_LARGE_GAP = 0.1
# The same. Below this, validation images count as known as well as training images. (draws 1-7)
MAX_SMALL_GAP = 0.02

# --- labels ------------------------------------------------------------------------------------------

# Skill on training images. From here on, they count as memorized. (first)
MIN_MEMORIZED_SKILL = 0.6
# Skill on validation images. Up to this, nothing learned may hold for them. (draws 1-4)
MAX_CHANCE_SKILL = 0.25
# Share of the loss of guessing. A validation loss that was once this much lower shows that something learned holds for
# new images. (both lots of the zoo, and draws 1-8)
MIN_LOSS_BELOW_GUESSING = 0.007
# Training images per class. With fewer, wrong labels look the same as a hard problem. (zoo, open sets)
MIN_IMAGES_OF_NOISE = 10
# The same. With fewer, nothing tells wrong labels from far too few images of a hard problem. (zoo, all lots)
MIN_IMAGES_OF_SURE_NOISE = 25
# Skill on training images. Below this, an epoch says nothing about labels: a network that always names one class is
# right as often as that class occurs. (draws 1-4)
MIN_COMPARED_SKILL = 0.3

# Share of the surest fifth of the answers to training images. If fewer contradict the label, labels may be right.
# (zoo, sets of the open lots)
MIN_CONTRADICTED = 0.05
# The same, the lower end of its interval. (zoo, sets of the open lots)
MIN_SURELY_CONTRADICTED = 0.02
# The same. If more do, the network knows too little for its sureness to mean anything. (zoo, sets of the open lots)
MAX_CONTRADICTED = 0.3
# The same, as a share of what the network itself leaves open in these answers: it answers images that it knows, and
# whose labels are right, better than it promises. (zoo, sets of the open lots)
MIN_CONTRADICTED_OF_UNSURE = 0.45
# The same, as a share of the wrong answers to all of these images. Sure answers to hard images are much better than
# others. (zoo, sets of the open lots)
MIN_CONTRADICTED_OF_ERRORS = 0.2

# --- classes -----------------------------------------------------------------------------------------

# Training images of a class, as a share of the largest class. A rarer class is neglected. (draws 1-4)
MIN_CLASS_BALANCE = 0.1
# Recall of a class. Below this, the network does not recognize it. (draws 1-4)
MIN_RECALL = 0.2
# How far the recall of a class is below that of most others, if the job's objective counts classes. (chosen)
MIN_RECALL_GAP = 0.1
# Median recall of all classes. If it is lower, no single class is the problem. (first)
MIN_USUAL_RECALL = 0.6
# Images of a class in a split. With fewer, its recall is not judged. (first)
MIN_CLASS_IMAGES = 8
# Validation images of a class. With fewer, only test can show that it is not recognized. (chosen)
MIN_VALIDATION_OF_CLASS = 10
# Probability of a false alarm, shared by the classes of a split. (draws 1-4)
MIN_GROUP_GAP = 0.05  # a group of images is worse by this much
MAX_FALSE_ALARMS = 0.05
# A column alone predicts the label almost as well as the network, and better than the largest class. (chosen)
MAX_BEHIND_NETWORK, MIN_COLUMN_GAIN = 0.05, 0.1

# --- splits ------------------------------------------------------------------------------------------

# Confidence of intervals that every diagnosis checks: at 0.95, one alarm in twenty would be false. (draw 1)
COMPARISON_CONFIDENCE = 0.99
# Accuracy. Validation may be this much better than test, because choices were based on it. (first)
MAX_SELECTION_EFFECT = 0.02
# Accuracy. If validation is clearly better than test by more, the finding is critical. (first)
MIN_CRITICAL_SHIFT = 0.08
# Share of the missing accuracy that one of the usual renamings must restore. There are few of them, so they rarely do
# so by chance. (zoo, open sets)
MIN_EXPLAINED_BY_USUAL = 0.5
# The same. A network that knows neither split can gain more than is missing by chance. (zoo, all lots)
MAX_EXPLAINED_BY_USUAL = 2.0
# Share of the images by which class frequencies differ from training's. From here on they can show a renaming. If a
# renaming increases the difference by this much, they speak against it. (zoo, open sets)
MIN_DISTANCE_OF_CLASSES = 0.12
# Share of that difference that may remain after a renaming. (zoo, open sets)
MAX_DISTANCE_OF_RENAMED = 0.35
# Answers with overall frequencies, added to each class before the answers to two splits are compared. (zoo, open sets)
PRIOR_ANSWERS = 4.0
# Answers to a partly renamed split: shares of labels that are renamed, multiples of the rate of right answers in the
# other split, and shares of random answers. (chosen)
SHARES_RENAMED = (0.1, 0.25, 0.5, 0.75, 1.0)
BOOSTS = (0.35, 0.6, 1.0, 1.65, 2.7, 7.4)
SHARES_GUESSED = (0.0, 0.2, 0.5, 0.8)
# Share of the labels. Where neighboring classes look alike, fewer often seem to be renamed. (zoo, all lots)
MIN_SHARE_RENAMED = 0.15
# This share of the classes must show it. (zoo, open sets)
MIN_CLASSES_OF_PART = 0.5
# Log-likelihood. A renaming must make the answers likelier by this much. (chosen)
MIN_GAIN_OF_RENAMING = 3.0
# Random renamings with which one is compared. (chosen)
RANDOM_RENAMINGS = 100
# Probability that a renaming fits the wrong answers by chance, if all images of a class may show one object. A renaming
# for which it is larger is only possible. (conventional)
MAX_CHANCE_OF_RENAMING = 0.05
# Up to this many classes, a renaming is compared with all others; beyond, with this many of them. (for speed)
MAX_CLASSES_OF_EXACT = 6
RENAMINGS_DRAWN = 1000
# Standard deviations of what random renamings gain. A renaming of some labels must gain more than they do by this many.
# Fewer do if accuracy is lower by this many standard errors. The last is added to the deviation. (zoo, all lots)
MIN_SIGMAS_OF_RENAMING = 5.0
MIN_SIGMAS_BESIDE_DEFICIT = 4.0
MIN_DEFICIT_SIGMAS = 1.0
LEAST_DEVIATION_OF_GAINS = 0.5
# Classes. With two, every wrong answer matches the other order. (mathematics)
FEWEST_CLASSES_OF_PART = 3
# Share of the variation of pixels that the split explains, from the audit. Smaller shifts occur wherever sources
# differ naturally. (zoo, open sets)
MIN_SHIFT_OF_IMAGES = 0.05
# The same. From here on, such images are worth a look before new ones are collected. (zoo, all lots)
MIN_VISIBLE_SHIFT = 0.02
# The same. From here on, images look so different that a probable difference in accuracy is enough. (zoo, all lots)
MIN_LARGE_SHIFT = 0.2
# Share of the missing test accuracy that renaming the classes must restore. (draws 1-6)
MIN_EXPLAINED_BY_RENAMING = 0.8
# Accuracy, half the width of its interval. A test set is large enough if accuracy is known this precisely. (first)
MAX_TEST_UNCERTAINTY = 0.02
# The same. Above this, a test set that is too small gets a warning instead of an info. (first)
MAX_TEST_UNCERTAINTY_OF_INFO = 0.04
# Digits of the number at the end of a class name. (longer ones are not class numbers)
MAX_DIGITS = 9
# Share of validation images. From here on, copies of training images are critical. (the audit's own bound)
MIN_CRITICAL_LEAK = 0.01

# --- the gap, term by term ---------------------------------------------------------------------------

# Confidence of the intervals of a gap's terms. (convention)
TERM_CONFIDENCE = 0.95
# Confidence from which on a difference of independent images is not called chance. (chosen)
SURE_CONFIDENCE = 0.999
# Real images come in families that are answered alike, such as the letters of one font. If different images are
# compared, at least this many say as much as one independent image. (the zoo, all lots: then intervals hold in 95%)
IMAGES_OF_FAMILY = 5.0
# Images of one object, photograph or person. Whether larger groups would make a gap chance is not asked. (chosen)
MAX_FAMILY_OF_CHANCE = 50
# The same for validation and test together, if nothing shows that they differ: what is expected, and how many
# differences between two splits it is worth. (zoo, open sets: then 95% of the intervals hold at half of their width)
EXPECTED_FAMILY = 2.5
WEIGHT_OF_EXPECTED_FAMILY = 2.0
# Standard errors of independent images. Two splits that are further apart are not alike. (zoo, open sets)
MAX_DIFFERENCE_OF_ALIKE = 3.0
# Probability of a false alarm, shared by all epochs that are compared with the best one. (the contract)
MAX_FALSE_ALARMS_OF_EPOCHS = 0.05
# Accuracy. A finding that clearly explains less is an info. (the contract)
MIN_EXPLAINED = 0.005
# Share of the test loss. A finding that also clearly explains less of the loss is an info. (as a mild rise of a curve)
MIN_EXPLAINED_OF_LOSS = 0.04
# Accuracy. An effect that is clearly smaller never comes before one that is larger. (the contract)
MIN_SURE_EFFECT = 0.01
# Accuracy. An effect of this size matters even if only the weaker interval excludes zero. (the contract)
MIN_LIKELY_EFFECT = 0.03
# Accuracy. Half an interval counts as at least this long. (even the largest tests are no more precise)
LEAST_HALF_INTERVAL = 0.001
# Confidence of the weaker interval: its lower bound holds in 80%. (the contract)
LIKELY_CONFIDENCE = 0.6
# Share of a split's images. From here on, copies make its figure misleading if they may cost a point. (the contract)
MIN_COPIED_SHARE = 0.05
# Accuracy. A gap that is clearly larger always belongs to a finding. (the contract)
MIN_SURE_GAP = 0.03
# Accuracy missing on training images. From here on, more training comes first. (zoo, open sets)
MIN_LEFT_TO_LEARN = 0.03
# Share of validation's deficit compared with training. Classes must account for this much to explain it.
# (zoo, open sets)
MIN_PART_OF_CLASSES = 0.4
# The same share, for wrong training labels. (zoo, open sets)
MIN_PART_OF_NOISE = 0.25

# --- figures that contradict each other --------------------------------------------------------------

# Measured training accuracy minus that of `fit`. (first)
MIN_FIT_ARTEFACT = 0.05
# Validation accuracy minus the training accuracy of `fit`. (first)
MIN_FIT_BELOW_VALIDATION = 0.025
# Fall of validation accuracy. A larger one contradicts a validation loss that does not rise. (draws 1-4)
MIN_CONTRADICTION = 0.1

# --- the live guard ----------------------------------------------------------------------------------

# Epochs after the best one before a training is stopped. (draws 1-5)
GUARD_PATIENCE_EPOCHS = 6
# Share of the loss by which its level must exceed its lowest: few trainings recover from there. (draws 1-5)
GUARD_MIN_RISE = 0.05

# --- words ---------------------------------------------------------------------------------------------

# Probability that a verdict is right. From these values, it is called sure or likely. (the contract; first)
MIN_SURE = 0.9
MIN_LIKELY = 0.7

# --- confidence --------------------------------------------------------------------------------------

# Bound for ratios whose logarithm is used: smaller ones, and ones above its inverse, say nothing more. (draws 1-7)
SMALLEST_RATIO = 0.001

# --- histories ---------------------------------------------------------------------------------------

# A larger figure counts as not finite, so that sums of squares stay finite. (mathematics)
MAX_FIGURE = 1e100

# --- suspected labels --------------------------------------------------------------------------------

# Share of a split's labels. A search must find that clearly more are wrong; fewer hardly change a figure. (chosen)
MIN_WRONG_SHARE = 0.03
# Share of wrongly answered training images. Wrong labels must clearly explain this many to be the reason. (chosen)
MIN_PART_OF_TRAINING = 0.5

# --- faults inside a network ------------------------------------------------------------------------
# (planted, open half: docs/measurements/inside.md)
# The first loss as a multiple of that of guessing.
MAX_FIRST_LOSS = 3.0
# Share of a layer's units that give the same for all images.
MIN_DEAD_UNITS = 0.9
# The first gradient of the first layer as a share of the last one's.
MIN_GRADIENT_SHARE = 1e-3
# A step as a share of the weights, the median over layers.
MAX_STEP = 0.1
# Learning rates far below the usual ones: a thirtieth of Keras' default, and for SGD a tenth; with momentum, less.
MAX_LOW_RATE, MAX_LOW_RATE_OF_SGD = 3e-5, 1e-3
