"""The word lists behind `judges.reference.text`: plain data, for the English of consumer health advice."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _ordered(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (pair.partition("=") for pair in text.split())}


# Words that carry no medical statement of their own, and words that name a kind of question rather than answer it.
STOP_WORDS = _words("""
    a an the this that these those it its they them their he she his her him we us our you your i me my who whom
    whose which what when where why how is are was were be been being am do does did done have has had having will
    would can could may might must shall should of in on at by for from to into onto with within about against
    between among during before after above below over under up down out off and or but nor so if then than as
    because while although though since until unless also too very much many more most some any all each every both
    either neither other others another such same own only just even still yet again ever once here there s t d ll
    re ve m often sometimes usually commonly common commonest typically generally mainly mostly likely possible
    possibly perhaps sure well like first later soon include includes including included make makes made making get
    gets getting take taking taken come comes become becomes bring brings cause causes caused causing lead leads
    leading help helps helped helping give gives given use uses used using need needs needed show shows showing
    shown find finding found call called calls known people person persons patient patients someone anyone everyone
    man woman doctor doctors physician clinician symptom symptoms sign signs treatment treatments treat treated
    treating treats diagnose diagnosed diagnosis prevent prevention prevented preventing risk risks factor factors
    effect effects side interact interacts interaction interactions precaution precautions outlook condition
    conditions disease diseases disorder disorders problem problems answer question following information point
    points main thing things e g i.e etc let mean means meant way ways kind kinds type types case cases part parts
    one several various certain increase increases increased raise raises lower lowers lowered chance chances
    develop develops developed good great
""")
# A clause with one of these says the opposite of the same clause without it ...
HARD_NEGATORS = _words("""
    no not never none cannot neither nor without isnt arent wasnt werent dont doesnt didnt hasnt
    havent cant couldnt wont wouldnt shouldnt mustnt
""")
# ... and these may stand for a negator ("not smoking", "quitting cigarettes"): they excuse a difference.
SOFT_NEGATORS = _words("""
    avoid avoiding avoids quit quitting stop stopping stops less low lower lack lacking limit limiting limits cut
    cutting reduce reducing reduced free fewer few rare rarely seldom hardly little poor poorly trouble difficulty
    difficult hard unable inability loss lose loses losing lost weak weakness missing missed miss skip skipping keep
    keeping away staying instead refuse give giving absent absence fail failed failing fails failure nothing nobody
    non uncontrolled unusual despite drop drops drying dry untreated unlikely inactive inactivity deficiency small
    short dislike prevent prevents anyone shortage before until unless only rather leave leaving protect block
    blocks empty slow under clear steer separate space caution careful own resist numb numbness paralysis halt end
    excess exclude spare without nor
""")
# Forms that no suffix rule leads home, each with the word it stands for.
IRREGULAR = _pairs("""
    abdomen=abdomin analyses=analys ate=eat bacterial=bacteria bacterium=bacteria bled=bleed blood=blood
    bloody=blood broken=break children=child death=die diagnoses=diagnos drank=drink dried=dri dries=dri drunk=drink
    dry=dri drying=dri dryness=dri dying=die eaten=eat eyesight=see facial=face feet=foot felt=feel grew=grow
    grown=grow growth=grow harden=hard hereditary=inherit heredity=inherit hormonal=hormon hungry=hunger itchy=itch
    lives=live loosen=loose loss=lose lost=lose lungs=lung men=man muscular=muscl overweight=obes redden=red
    sight=see slept=sleep stiffen=stiff swollen=swell teeth=tooth thirsty=thirst vaginal=vagin viral=virus
    vision=see weaken=weak weigh=weight widen=wide women=woman worn=wear x=xray
""")
# The first that fits is taken off: longer ones stand before their own endings.
SUFFIXES = _ordered("""
    ization fulness ational iveness ousness ically ations ements nesses ation ement ments ness ment ious eous able
    ible ical less edly ings ions ancy ency ance ence ously ally ing ion ity ive ous ful ers ors ics ies ied ist est
    ic al ed er or es en ly ia is e y s i
""")
# Words of one line mean the same to a reader of health advice; the first stands for all.
SYNONYMS = """
tired fatigue exhaustion weary worn
belly abdominal abdomen stomach tummy
medicine medication drug pill tablet capsule
fever temperature feverish
surgery operation surgical surgeon operate
smoke cigarette tobacco smoking
alcohol drinking drinker
exercise activity active workout
obesity overweight obese
child kid infant baby toddler
hypertension hypertensive
relative family parent inherited genetic gene heredity
older old elderly age aging
breathless breath breathing breathe
ache pain painful hurt sore soreness
rash eruption
throw vomiting vomit
nausea queasy queasiness sick
sugar glucose
heal recover recovery
scan imaging mri ct
diet eating eat food meal
wash washing hygiene clean
injury injure trauma wound damage harm
bowel intestine gut
urine urinate urinating urination pee
cancer tumor tumour malignancy malignant
kidney renal
heart cardiac
liver hepatic
lung pulmonary
skin dermal
clot thrombosis
germ bacteria microbe
doctor physician
dizzy dizziness lightheaded giddy
itch itching pruritus
rest sleep asleep
jab vaccine vaccination immunization shot injection inject
worry anxious anxiety
yearly annual
stretch extend
pregnant pregnancy
see vision sight visual eyesight
therapy counseling
sun sunlight sunshine ultraviolet
specimen sample
"""
# Words of talk about statements, sources and belief: clauses of these alone say nothing about health.
FRAME_TALK = _words("""
    myth myths fable fables fiction tale tales wives wife legend legends falsehood false falsely untrue untruth untruths
    wrong wrongly incorrect inaccurate erroneous error errors mistake mistakes mistaken mistakenly misconception
    misconceptions misbelief misbeliefs misinformation fallacy fallacies superstition superstitions lie lies lying liar
    hoax hoaxes nonsense rubbish bogus rumor rumors rumour rumours baseless basis unfounded groundless unproven
    unsupported invalid valid refute refuted refutes disprove disproved disproven debunk debunked discredited rebutted
    overturned retracted withdrawn dismiss dismissed reject rejected rejects deny denied denies contradict contradicts
    invent invented invention inventions fabricated imaginary opposite contrary true truth truly right rightly correct
    correctly accurate fact facts factual real reality really claim claims claimed statement statements sentence
    sentences line lines word words item items list lists listed listing text part remark belief beliefs believe
    believed believes believing think thought thinks say says said saying tell tells told read reads hear heard write
    writes written repeat repeats assume assumed imagine suppose supposed popular old widespread traditional notion
    notions idea ideas view views opinion opinions study studies science scientific research trial trials evidence
    proof prove proved proven shown support supported supports confirm confirmed bear borne establish established
    expert experts specialist specialists scientists internet newspaper newspapers book books web source sources
    neighbor neighbors quack quacks ago today nowadays past once long time longer start starts end ends begin begins
    name names named mention mentioned stand stands hold holds apply applies count counts belong belongs exact exactly
    single whole entire entirely complete completely total totally pure purely absolutely altogether trust accept heed
    listen stranger strangers folk gossip safely verdict collection heap set everyday still only whatever
    discussed described stated above below former latter page paragraph agree agrees reader readers speak speaks
    worth reason taught teach teaches school go goes fair fairy foundation fool fooled buy fall fell
""")
# A text of some length with none of these, nor of the verbs below, is a heap of key words and no sentence.
SENTENCE_WORDS = _words("""
    and but because is are was were be been am do does did has have had can could may might will would shall should must
    cannot isnt arent wasnt werent dont doesnt didnt cant couldnt wont shouldnt it they you he she we helps needs means
""")
# Verbs that health texts use in the present tense, without those whose form is a noun or an adjective more often.
FINITE_VERBS = _ordered("""
    add affect allow appear ask bleed call choose die dot ease examine fade feel fill go guard hold inject inspect
    leak look name pass regulate rush swallow swell tense trace tremble turn
    appear arise avoid become begin bring carry climb collect come confirm consist contain
    contribute depend destroy detect develop differ enlarge examine exist explain fail find flatten flush follow
    gather get give grow happen hear heal improve include inherit inhibit involve irritate keep kill lack lead let lose
    make mutate narrow occur perform prevent produce promote protect provide push put raise react receive recover reduce
    relieve remain remove replace require respond restore retain reveal say see seek seem send serve settle shrink
    soften slip speak stay stiffen strengthen struggle suffer suggest suppress take tell tend tighten tingle throb treat
    vanish vary warn weaken worsen adjust attach await blame boost combine compare connect create decide deserve disturb
    eat enter erupt expand expect forget hide imply infect inform injure invade know learn live maintain mark melt mix
    multiply obtain oppose permit pour prefer prescribe quit recommend refuse rely remember satisfy sink squeeze
    stimulate succeed surround teach thicken think throw transmit understand wait wear widen
""")
# Articles, prepositions, conjunctions, pronouns and auxiliaries.
BINDING_WORDS = SENTENCE_WORDS | _words("""
    a an the this that these those its their his her him them who whom whose which what when where why how being having
    shall of in on at by for from to into with within about against between among during before after above below over
    under up down out off or nor so if then than as while though although since until unless not no never either both
    neither also
""")
