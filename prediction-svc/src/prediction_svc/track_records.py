class TrackRecords:
    def __init__(self, *a):
        pass

    async def save(self, *a):
        pass

    async def load(self, *a):
        return None
