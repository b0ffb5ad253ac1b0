"""Demo learners: accounts and profiles."""

from __future__ import annotations

import random
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import timedelta

from instants import utc_now
from models import (
    EnglishLevel,
    LearningGoal,
    Profile,
    User,
)

WEEKS = 6
#: End of every demo account's address; the domain is reserved (RFC 2606) and takes no mail.
EMAIL_DOMAIN = ".demo@example.com"
#: Country, language, time zone, and names that are common there.
_COUNTRIES = [
    ("BR", "pt-BR", "America/Sao_Paulo", "Ana João Beatriz Lucas Larissa Rafael", "Silva Souza Oliveira Costa"),
    ("JP", "ja", "Asia/Tokyo", "Yuki Haruto Sakura Ren Aoi Daiki", "Sato Suzuki Tanaka Watanabe"),
    ("IN", "hi", "Asia/Kolkata", "Priya Arjun Ananya Rohan Kavya Vikram", "Sharma Patel Gupta Reddy"),
    ("ES", "es", "Europe/Madrid", "Lucía Hugo Carmen Pablo Marta Javier", "García Fernández López Romero"),
    ("MX", "es-MX", "America/Mexico_City", "Valentina Diego Ximena Emiliano Regina Mateo", "Hernández Ramírez Torres"),
    ("TR", "tr", "Europe/Istanbul", "Elif Mehmet Zeynep Emre Defne Can", "Yılmaz Kaya Demir Şahin"),
    ("PL", "pl", "Europe/Warsaw", "Zofia Jakub Maja Kacper Hanna Michał", "Nowak Kowalska Wójcik Zielińska"),
    ("VN", "vi", "Asia/Ho_Chi_Minh", "Linh Minh Trang Huy Lan Nam", "Nguyễn Trần Phạm Hoàng"),
    ("EG", "ar", "Africa/Cairo", "Mariam Omar Nour Youssef Salma Karim", "Hassan Ibrahim Mahmoud Farouk"),
    ("UA", "uk", "Europe/Kyiv", "Olena Andriy Daryna Taras Iryna Bohdan", "Shevchenko Bondarenko Kovalenko"),
    ("ID", "id", "Asia/Jakarta", "Dewi Budi Putri Agus Sari Rizky", "Wijaya Santoso Pratama Halim"),
    ("DE", "de", "Europe/Berlin", "Lena Jonas Mia Felix Emma Paul", "Müller Schmidt Fischer Weber"),
    ("NP", "ne", "Asia/Kathmandu", "Asha Bibek Sunita Prakash Maya Suraj", "Thapa Gurung Shrestha Rai"),
    ("CO", "es-CO", "America/Bogota", "Isabella Santiago Camila Andrés Daniela Felipe", "Rodríguez Gómez Vargas"),
]
_BIOS = {
    LearningGoal.FLUENCY: "I understand films but lose my words when I speak. Patient partners welcome!",
    LearningGoal.BUSINESS: "I have calls with customers abroad every week and want to sound like myself in them.",
    LearningGoal.TRAVEL: "Planning a long trip. I would love to learn about the place you live in.",
    LearningGoal.EXAM: "My speaking exam is this autumn. Ask me anything, and stop me when I make mistakes.",
}


@dataclass(slots=True)
class Person:
    user: User
    profile: Profile
    #: Probability of a call on a day.
    call_probability: float


def make_id(rng: random.Random) -> uuid.UUID:
    return uuid.UUID(int=rng.getrandbits(128), version=4)


def make_people(rng: random.Random, count: int, password_hash: str, taken: set[str]) -> list[Person]:
    people: list[Person] = []
    emails: set[str] = set()
    joined = utc_now() - timedelta(weeks=WEEKS)
    while len(people) < count:
        country, language, zone, firsts, lasts = rng.choice(_COUNTRIES)
        first, last = rng.choice(firsts.split()), rng.choice(lasts.split())
        plain = _to_ascii(f"{first}.{last}")
        name, number = plain, 1
        while name.replace(".", "_") in taken or name in emails:
            number += 1
            name = f"{plain}{number}"
        emails.add(name)
        taken.add(name.replace(".", "_"))
        goal = rng.choice(list(LearningGoal))
        began = joined + timedelta(days=rng.triangular(0, WEEKS * 7 - 3, 0), hours=rng.uniform(0, 24))
        user = User(
            id=make_id(rng),
            email=f"{name}{EMAIL_DOMAIN}",
            password_hash=password_hash,
            is_verified=rng.random() < 0.8,
            created_at=began,
        )
        profile = Profile(
            user_id=user.id,
            username=name.replace(".", "_"),
            display_name=f"{first} {last[0]}." if rng.random() < 0.6 else first,
            bio=_BIOS[goal] if rng.random() < 0.7 else None,
            native_language=language,
            english_level=rng.choices(list(EnglishLevel), weights=[3, 5, 2])[0],
            learning_goal=goal,
            country=country,
            timezone=zone,
            created_at=began,
            last_active_at=began,
        )
        people.append(Person(user, profile, rng.betavariate(2, 3)))
    return people


def _to_ascii(name: str) -> str:
    """Reduce to lower-case ASCII letters."""
    letters = name.lower().translate(str.maketrans("ıłđ", "ild"))
    return unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()


def sort_by_calls(people: list[Person]) -> list[Person]:
    """Sort by the number of calls, most first. The first, whom no report is about, is the account for visitors."""
    return sorted(people, key=lambda each: (-each.profile.total_sessions, each.user.id))
