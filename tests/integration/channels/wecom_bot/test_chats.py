"""Which target a conversation with the bot is."""

from __future__ import annotations

from dataclasses import replace

from tests.integration.channels.wecom_bot.bot_harness import GROUP, USER, bot_fixture, target

__all__ = ["bot_fixture"]


async def test_a_conversation_is_told_by_its_targets(bot):
    channel = await bot.online()
    context = replace(
        bot.context(),
        targets={
            "ops": target(GROUP),
            "group": target(GROUP, chat_type="group"),
            "not-this": target(GROUP, chat_type="single"),
            "boss": target(f" {USER} "),
        },
    )
    assert channel.keeps(context)
    channel.adopt(context)
    await bot.server.say("@bot hi", group=GROUP, user=USER)
    await bot.server.say("hi", user=USER)
    await bot.server.say("hi", user="somebody")
    await bot.server.say("hi", group="another")
    await bot.until(lambda: len(bot.inbox) == 4)
    assert [channel.targets_of(heard) for heard in bot.inbox] == [("ops", "group"), ("boss",), (), ()]
    assert [(heard.text, heard.mentioned, heard.called) for heard in bot.inbox] == [("hi", True, ())] * 4
    assert channel.targets_of(replace(bot.inbox[0], room_id=None)) == ("boss",)
