"""The English words that the guards know."""

from __future__ import annotations

__all__ = ["FUNCTION", "NEGATIONS", "NUMBERS", "OPPOSITES", "TELLING"]

_NEGATIONS = """
no not never none nobody nothing nowhere neither nor without cannot lack lacks lacking fail fails failed refuse
refuses refused deny denies denied except unless isnt arent wasnt werent dont doesnt didnt cant couldnt wont
wouldnt shouldnt mustnt hasnt havent hadnt aint neednt stop stopped prevent avoid exclude excluding
"""
_NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion half
quarter double twice triple first second third fourth fifth last next previous once both dozen single
"""
_FUNCTION = """
a an the this that these those i you he she it we they me him her us them my your his its our their mine yours
is are was were be been being am do does did have has had will would shall should can could may might must of to
in on at by for with from as and or but if so than then too very just also please there here what which who whom
whose when where why how about into onto some any all each every more most much many such own same other s t re
ve ll d m get got getting want wanted wants need needed needs like know tell hi hello hey thanks thank
"""
_TELLING = """
on off up down in out over under before after above below with without against for from to into onto until since
during more less most least all any some only also still yet already again between inside outside through
"""
_OPPOSITES = """
open/close opened/closed opening/closing enable/disable enabled/disabled activate/deactivate
activated/deactivated allow/forbid allow/block allowed/forbidden permit/prohibit accept/reject accept/decline
accepted/rejected approve/reject approved/rejected approved/denied grant/revoke increase/decrease
increased/decreased raise/lower rise/fall up/down high/low higher/lower highest/lowest max/min maximum/minimum
most/least more/less more/fewer many/few big/small large/small larger/smaller largest/smallest long/short
longer/shorter fast/slow faster/slower early/late earlier/later earliest/latest first/last before/after
start/stop start/end start/finish begin/end began/ended started/stopped on/off in/out inside/outside over/under
above/below front/back left/right top/bottom north/south east/west buy/sell bought/sold purchase/sale
borrow/lend lend/borrow send/receive sent/received give/take gave/took push/pull pushed/pulled upload/download
uploaded/downloaded import/export encrypt/decrypt lock/unlock locked/unlocked connect/disconnect
connected/disconnected install/uninstall add/remove added/removed insert/delete create/delete created/deleted
create/destroy build/destroy subscribe/unsubscribe follow/unfollow freeze/unfreeze mute/unmute hide/show
show/hide hidden/visible public/private visible/invisible internal/external include/exclude included/excluded
including/excluding win/lose won/lost pass/fail passed/failed success/failure succeed/fail true/false
right/wrong correct/incorrect valid/invalid legal/illegal safe/unsafe safe/dangerous secure/insecure
healthy/unhealthy possible/impossible able/unable available/unavailable free/paid cheap/expensive cheaper/dearer
cheapest/dearest hot/cold warm/cool wet/dry light/dark light/heavy hard/soft hard/easy easy/difficult
strong/weak rich/poor old/new older/newer oldest/newest young/old good/bad better/worse best/worst
positive/negative asset/liability profit/loss debit/credit income/expense gain/loss arrive/depart
arrival/departure arriving/leaving enter/exit entry/exit login/logout signin/signout male/female man/woman
husband/wife mother/father brother/sister morning/evening day/night today/yesterday today/tomorrow
yesterday/tomorrow monday/friday weekday/weekend past/future employer/employee buyer/seller lender/borrower
landlord/tenant teacher/student doctor/patient sender/recipient import/exports input/output client/server
parent/child upstream/downstream online/offline domestic/international refund/charge withdraw/deposit
withdrawal/deposit incoming/outgoing verify/falsify confirm/cancel confirmed/cancelled keep/discard save/discard
love/hate like/dislike agree/disagree appear/disappear connect/sever mount/unmount vertical/horizontal
ascending/descending synchronous/asynchronous temporary/permanent optional/required optional/mandatory
single/multiple single/married full/empty full/partial partial/complete alive/dead guilty/innocent proceed/abort
zip/unzip expand/collapse maximize/minimize promote/demote hire/fire attach/detach transparent/opaque
friend/enemy ally/enemy heaven/hell war/peace even/odd former/latter gross/net
"""

NEGATIONS = frozenset(_NEGATIONS.split())
"""Words that turn a question into its opposite."""

NUMBERS = frozenset(_NUMBERS.split())
"""Words that count or order."""

FUNCTION = frozenset(_FUNCTION.split())
"""Words that say nothing by themselves."""

TELLING = frozenset(_TELLING.split())
"""Small words that change what is meant when they change."""

OPPOSITES = frozenset(frozenset(pair.split("/")) for pair in _OPPOSITES.split())
"""Pairs of words of which one is not the other."""
