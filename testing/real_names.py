"""Names of people and places, and sentences of lessons, that no filter may refuse."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from faker import Faker
from faker.providers import person

#: Locales whose names are taken, in their scripts.
LOCALES = (
    "ar_SA", "bg_BG", "bn_BD", "cs_CZ", "da_DK", "de_DE", "el_GR", "en_GB", "en_IN", "en_NG", "en_TH", "en_US", "es_ES",
    "es_MX", "fa_IR", "fi_FI", "fr_FR", "ga_IE", "he_IL", "hi_IN", "hr_HR", "hu_HU", "id_ID", "it_IT", "ja_JP", "ka_GE",
    "ko_KR", "nl_NL", "no_NO", "pl_PL", "pt_BR", "ro_RO", "ru_RU", "sk_SK", "sv_SE", "th_TH", "tr_TR", "uk_UA", "vi_VN",
    "zh_CN", "zh_TW",
)  # fmt: skip
#: Names that filters are known to refuse.
HARD_NAMES = (
    "Scunthorpe", "Dick", "Dick Whittington", "Dick Van Dyke", "Nguyen", "Phuc", "Phúc Nguyễn",
    "Nguyen Thi My Dung", "Bich Ngoc", "Cockburn", "Hancock", "Hitchcock", "Peacock", "Assis",
    "Machado de Assis", "Fuks", "Fuchs", "Fuk Yuen", "Sexton", "Titus", "Tito", "Shitake", "Yoshitaka",
    "Matsushita", "Takeshita", "Harshit Sharma", "Dikshit", "Lakshit", "Rakshit", "Semen Ivanov", "Analia",
    "Analisa", "Ana1", "Ana 1", "Kuntz", "Kunta Kinte", "Gaylord", "Gay Talese", "Cummings", "Lund", "Randi",
    "Niger", "Nigeria", "Nigel", "Hooker", "Butts", "Weiner", "Wanklyn", "Pornthip", "Siriporn", "Chatuporn",
    "Suka", "Puttanesca", "Pratt", "Twaite", "Penistone", "Clitheroe", "Lightwater", "Essex", "Sussex",
    "Middlesex", "Horniman", "Arsenal", "Arsène", "Dildar", "Kikelomo", "Kike Hernández", "Faggin", "Fagan",
    "Spick", "Slutsky", "Slutskaya", "Shittu", "Pussyfoot", "Bitschnau", "Kubitschek", "Assad", "Cassandra",
    "Bassam", "Hassan", "Massimo", "Mehmet Siktas", "Gotze", "Götz", "Piccard", "Ibn Sina", "Kurwenal",
    "Chujoy", "Huí", "Hui Min", "Wang Shabin", "Coggin", "Vergara", "Concha Garcia", "Niki Lauda", "Mofokeng",
    "Dildora", "Luka Salopek", "Giovanni Verga", "Annus", "Tiits", "Darcie", "Koontz", "D'Acunto", "Trần Ny",
)  # fmt: skip
#: Family names that are spelled like a word of the lists, and nothing else is in them.
SPELLED_LIKE_LISTED_WORDS = frozenset(("Merda", "Puto", "Áss"))
#: What a teacher expects in topics and bios.
SENTENCES = (
    "Essex and Sussex", "sex education", "gender and sex in the census", "cock-a-doodle-doo",
    "Dick Whittington and his cat", "a class about classic music", "how to assess a pass mark", "I grow grapes",
    "my therapist", "analysis and analytics", "the pen is on the table", "an us versus them story",
    "Let's hit the road", "it's hit or miss", "What's hit the charts?", "5 hit songs", "who're you?",
    "He's hot, she's cool", "push it, pull it", "this hit me", "shuttlecock and badminton", "cocktails",
    "a peacock", "cockpit of a plane", "Moby Dick", "Charles Dickens", "a blue tit and a great tit",
    "titles and subtitles", "constitution", "institute", "competition", "Saturn and Uranus", "manuscript",
    "janitor", "the planet of the apes", "drapes and scrapes", "a bass guitar", "assassin's creed",
    "embarrassed", "passenger", "cumulative", "document", "cucumber salad", "circumstances", "scum on the pond",
    "Niger and Nigeria", "snigger", "niggle", "a chink in the armour", "hello, I'm from Penistone", "swallow",
    "Pakistan", "spices", "suspicious", "despicable", "raccoon", "tycoon", "cocoon", "the Jewish museum",
    "the cold war", "homophones", "homo sapiens", "lesbian and gay rights", "breast cancer",
    "naked eye", "pronunciation (pron.)", "A1, B2 or C1?", "IELTS 7.5 by 2027", "Room A 55",
    "I was born in 1988", "24/7", "3 x 4 = 12", "C++ and C#", "$5 or 5 €", "e-mail me @ work", "rock & roll",
    "F1 and formula e", "U.S.A. and U.K.", "USSR", "a s d f", "ABC", "I. A. Richards", "I'm a b-boy",
    "as he said", "as soon as", "is it", "to a T", "put as many", "via doha", "is she male or female?",
    "only fans of Arsenal", "shipping it", "Ship it!", "fish it out", "a ship hit a rock", "fog and fig",
    "Saturday", "public speaking", "hello!!!", "soooo good", "aaaah", "hmmmm", "yesss", "coool", "bookkeeper",
    "balloon", "committee", "Mississippi", "assessment", "possess", "success", "rapping", "therapy",
    "skyscraper", "trapeze", "retardant", "méthode", "Ça va ?", "mañana", "año nuevo", "papá", "en retard",
    "con leche", "je suis", "die Katze", "dick und dünn", "ich hab's", "Vater", "Fahrt", "Ausfahrt",
    "suka makan", "saya suka kopi", "bukan", "teman", "chukka", "cheers", "прошу", "страховка", "подстраховать",
    "художник", "хлебать", "употреблять", "команда", "требовать", "сукно", "рисунок", "барсук", "コメディ",
    "Who re-elected him?", "The Bulls hit back", "call 455-8008", "Room 455", "prick your finger", "a trolley",
    "broccoli puzzles", "Therapists differ", "I. M. Fulbright", "(lit. a light)", "U.K. prices", "страхуйте",
    "ロマンコメディ", "マンション", "操作系统", "日本", "干净", "시발점", "보지 않다", "ขอบคุณ", "धन्यवाद",
    "गांधी", "شكرا", "عرض", "كسر", "תודה", "ευχαριστώ", "köszönöm", "dziękuję", "teşekkürler", "cảm ơn",
)  # fmt: skip


def generate(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield `count` names with their locale: whole names, first names and family names in turn."""
    fakers = [(locale, Faker(locale)) for locale in LOCALES]
    for number, (_, faker) in enumerate(fakers):
        faker.seed_instance(seed + number)
    for number in range(count):
        locale, faker = fakers[number % len(fakers)]
        make = (faker.name, faker.first_name, faker.last_name)[number // len(fakers) % 3]
        yield locale, make()


def read_all() -> list[str]:
    """Return every first and last name of every provider of Faker, about 60,000 of 80 locales."""
    names: set[str] = set()
    for module in pkgutil.iter_modules(person.__path__):
        provider = importlib.import_module(f"{person.__name__}.{module.name}").Provider
        for attribute in (each for each in dir(provider) if "_name" in each):
            values = getattr(provider, attribute)
            if isinstance(values, tuple | list | dict | set):
                names |= {each for each in values if isinstance(each, str)}
    return sorted(each for each in names if "{{" not in each)
