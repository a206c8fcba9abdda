"""The older bot's way to a screenshot, for comparison: a fresh Chrome, the login form, five seconds, a picture.

Runs as a process of its own: for every line on standard input (the file to write) it takes one picture and
answers with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SLEEP = 5.0


def start_chrome(chrome: str, driver: str) -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--window-size=1920,1080")
    return webdriver.Chrome(options=options, service=Service(driver))


def take(chrome: str, driver: str, url: str, login: tuple[str, str], file: str) -> dict[str, float]:
    """Take one picture: seconds until it was there, and how many of them went into starting and logging in."""
    began = time.perf_counter()
    browser = start_chrome(chrome, driver)
    try:
        started = time.perf_counter()
        browser.get(url)
        browser.find_element(By.NAME, "user").send_keys(login[0])
        browser.find_element(By.NAME, "password").send_keys(login[1])
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda page: "/login" not in page.current_url)
        logged_in = time.perf_counter()
        time.sleep(SLEEP)
        if not browser.save_screenshot(file):
            raise OSError(f"{file} was not written")
        done = time.perf_counter()
    finally:
        browser.quit()
    return {"seconds": done - began, "start": started - began, "login": logged_in - started}


def main() -> None:
    chrome, driver, url, user, password = sys.argv[1:]
    for line in sys.stdin:
        print(json.dumps(take(chrome, driver, url, (user, password), line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
