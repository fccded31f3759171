"""`glimp chat`: screens and widgets over a session's events. Knows no engine: `driver.py` alone holds one."""
